"""Compares every node of a cluster with this process before work starts; a difference names the node and both sides.

A score depends on the versions that compute it, and a node with other code would return other rows without an error.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raprune.errors import InputError, first_line
from raprune.launch.nodes import installed as on_node

ANSWER_S = 120.0
"""Seconds that a node gets to answer; the first question starts a process there."""
MOST_NAMED = 4
"""Nodes that an error or a note describes."""
WAY_ON = "Install the same there as here, or take the node out of the cluster; docs/cluster.md says how."
FOLDER = "study's folder"
TOLD = ("name", "processor")
"""What a node tells beside what must be equal."""


class NodeCheck:
    """Asks nodes once each, and remembers what is wrong with them."""

    def __init__(self, modules: Collection[str] = (), probe: Path | None = None) -> None:
        """``modules``: the study's own; ``probe``: a file in the study's folder, which every node must see."""
        self._asked = (tuple(modules), str(probe.resolve()) if probe is not None else "")
        self._here = on_node.installed(*self._asked)
        self._problems: dict[str, str] = {}
        """Node (Ray's id) -> what is wrong with it; empty if it can be used."""
        self._processors: dict[str, str] = {}

    @property
    def of_this_node(self) -> Callable[[], None]:
        """What a process of a node that joins later calls first; raises :class:`InputError` if it cannot be used."""
        return partial(_refuse_other, self._here, self._asked)

    def check(self, node_ids: Sequence[str], tell: Callable[[str], None]) -> None:
        """Raise :class:`InputError` if a node cannot be used; ``tell`` that rows can depend on which node scores."""
        self._ask(node_ids)
        if wrong := _told(self._problems, node_ids):
            raise InputError(f"{wrong}\n{WAY_ON}")
        if note := differing_processors(self._processors):
            tell(note)

    def _ask(self, node_ids: Sequence[str]) -> None:
        import ray

        new = [node_id for node_id in dict.fromkeys(node_ids) if node_id not in self._problems]
        end = time.monotonic() + ANSWER_S
        for node_id, ref in _sent(new, self._asked).items():
            try:
                there = ray.get(ref, timeout=max(0.0, end - time.monotonic()))
            except ray.exceptions.GetTimeoutError:
                self._problems[node_id] = f"no answer within {ANSWER_S:.0f} s"
            except Exception as error:  # whatever a node without the packages raises
                self._problems[node_id] = first_line(error)
            else:
                self._processors[there["name"]] = there["processor"]
                self._problems[node_id] = compared(self._here, there)


def _sent(node_ids: Sequence[str], asked: tuple[Any, ...]) -> dict[str, Any]:
    """The question, sent to each node; its code travels along, because raprune may be missing there."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(on_node)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(on_node.installed)
        there = {node_id: NodeAffinitySchedulingStrategy(node_id, soft=False) for node_id in node_ids}
        return {node_id: task.options(scheduling_strategy=at).remote(*asked) for node_id, at in there.items()}
    finally:
        cloudpickle.unregister_pickle_by_value(on_node)


def _refuse_other(there: Mapping[str, str], asked: tuple[Sequence[str], str]) -> None:
    """Compare this node with the study's process, which has ``there``."""
    if problem := compared(there, on_node.installed(*asked)):
        raise InputError(f"node {platform.node()} cannot be used: {problem}")


def compared(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What makes a node unusable, with both sides; empty if nothing does."""
    differ = {what: there.get(what, "") for what in here if what not in TOLD and there.get(what, "") != here[what]}
    if "raprune" in differ:  # the digest follows from the version
        differ.pop("code of raprune", None)
    said = []
    if differ.pop(FOLDER, None) is not None:
        said.append("it cannot read and write the study's folder (--out must be on storage that all nodes share)")
    said += [f"{what} is {now or 'missing'} there and {here[what]} here" for what, now in differ.items()]
    return "; ".join(said)


def _told(problems: Mapping[str, str], node_ids: Sequence[str]) -> str:
    """One line for all nodes that have the same problem."""
    import ray

    names = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
    alike: dict[str, list[str]] = {}
    for node_id in node_ids:
        if problem := problems[node_id]:
            alike.setdefault(problem, []).append(names.get(node_id, node_id))
    plural = {problem: "s" if len(where) > 1 else "" for problem, where in alike.items()}
    return "\n".join(
        f"node{plural[problem]} {_some(sorted(where))} cannot be used: {problem}" for problem, where in alike.items()
    )


def differing_processors(processors: Mapping[str, str]) -> str:
    """Says that processors (name of a node -> its kind) differ, on which rows depend; empty if they do not."""
    kinds: dict[str, list[str]] = {}
    for name, kind in sorted(processors.items()):
        kinds.setdefault(kind, []).append(name)
    if len(kinds) < 2:
        return ""
    listed = "; ".join(f"{_some(names)}: {kind}" for kind, names in sorted(kinds.items()))
    return f"the processors differ ({listed}): rows can depend on which of them scores, because they round differently"


def _some(names: list[str]) -> str:
    left = len(names) - MOST_NAMED
    return ", ".join(names if left <= 0 else [*names[:MOST_NAMED], f"{left} more"])
