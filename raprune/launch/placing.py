"""Where Ray Tune puts trials: off machines that may be taken away, and off those that differ from the study's own.

A node that joins while a study runs is compared by the first process that starts there. A trial that finds itself on
one that differs is started again elsewhere, before it has read or written anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from raprune.errors import InputError
from raprune.evaluators.sharing import SharedGiven
from raprune.launch.resources import TRIAL_CPUS

NODE = "ray.io/node-id"
"""Ray's label of each node."""


class OtherNodeError(InputError):
    """A trial's process runs on a node that cannot be used."""

    def __init__(self, why: str, node: str) -> None:
        """``node``: Ray's id of it."""
        super().__init__(why, node)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[0])


class Refusals(Protocol):
    """What a study knows of nodes that cannot be used."""

    def refuse(self, node: str) -> bool:
        """Use a node no more, by Ray's id of it; returns whether it was not refused before."""

    def trial_labels(self) -> dict[str, str]:
        """The labels of machines on which trials run; empty where any will do."""


def off(nodes: Collection[str]) -> dict[str, str]:
    """The labels of all other nodes."""
    return {NODE: f"!in({','.join(sorted(nodes))})"} if nodes else {}


def needs(labels: Mapping[str, str]) -> Any:
    """What a trial reserves, as Tune takes it."""
    from ray import tune

    selector = {"bundle_label_selector": [dict(labels)]} if labels else {}
    return tune.PlacementGroupFactory([{"CPU": TRIAL_CPUS}], **selector)


def check_node(given: SharedGiven) -> None:
    """Compare this process's node with the study's; raises :class:`OtherNodeError` if it differs."""
    import ray

    try:
        given.check_node()
    except InputError as error:
        raise OtherNodeError(str(error), ray.get_runtime_context().get_node_id()) from None


def error_of(trial: Any) -> Exception | None:
    """The latest error of a trial of Tune, from the file into which Tune has just written it.

    Tune's own ``get_pickled_error`` looks where that file will have been copied some time later.
    """
    from ray import cloudpickle

    with contextlib.suppress(OSError, EOFError):
        if trial.pickled_error_file is not None:
            error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
            return error
    found: Exception | None = trial.get_pickled_error()
    return found


def other_node(error: BaseException | None) -> OtherNodeError | None:
    """The node that a trial's error is about; ``None`` for any other error."""
    while isinstance(cause := getattr(error, "cause", None) or getattr(error, "__cause__", None), BaseException):
        error = cause  # Ray's error is of the cause's class, too, with a traceback as its text
    return error if isinstance(error, OtherNodeError) else None


def scheduler(refusals: Refusals, tell: Callable[[str], None]) -> Any:
    """Tune's usual scheduler, in the order of the trials; one whose node was refused starts elsewhere."""
    from ray.tune.schedulers import FIFOScheduler

    class Placing(FIFOScheduler):  # type: ignore[misc]
        def __reduce__(self) -> Any:
            return FIFOScheduler, ()  # Tune writes it to disk, where this one is useless

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            """Called before the trial waits for room again."""
            super().on_trial_error(tune_controller, trial)
            if (error := other_node(error_of(trial))) is not None:
                is_news = refusals.refuse(error.node)
                trial.update_resources(needs(refusals.trial_labels()))
                if is_news:
                    tell(f"{error}: its trials run elsewhere")

    return Placing()
