"""What a pool of evaluators needs of a cluster and of time.

Ray's implementation is ``ray_backend.py``. Another one, such as a simulated cluster on a simulated clock, runs the same
dispatcher and the same pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Actor = Any
"""A handle of one process of the cluster."""
Ref = Any
"""What a call will return, or a stored value."""


@dataclass(frozen=True)
class Node:
    """A machine that is part of the cluster now."""

    id: str
    name: str
    resources: Mapping[str, float]
    """Everything it has, used or not: ``CPU``, ``GPU`` and more."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """As ``ray.io/market-type``."""


class LostError(Exception):
    """The process that computed a call was lost, or cannot be reached."""

    def __init__(self, why: str, *, memory: bool = False, for_good: bool = False) -> None:
        """``why``: part of a sentence. ``memory``: its host ran out of it. ``for_good``: it does not start again."""
        super().__init__(why)
        self.memory = memory
        self.for_good = for_good


class CallError(Exception):
    """A call raised an error that is not one of raprune's; the text is its traceback."""


class Backend(Protocol):
    """A cluster as one process of a study sees it. Actors and keys of other studies are out of its reach."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""

    def call(self, actor: Actor, method: str, *arguments: Any) -> Ref:
        """Begin a call, and return at once. A call that is lost is not made again."""

    def wait(self, refs: Sequence[Ref], number: int, timeout_s: float) -> list[Ref]:
        """Wait until ``number`` calls have ended, at most ``timeout_s``; returns the ended ones, in any order."""

    def result(self, ref: Ref) -> Any:
        """What an ended call returned.

        Raises :class:`LostError` if its actor was lost, the call's own :class:`RapruneError`, or :class:`CallError`.
        """

    def put(self, value: Any) -> Ref:
        """Store a value that all processes can fetch by its reference."""

    def find(self, name: str) -> Actor:
        """The actor of this name. Raises :class:`LostError` if there is none."""

    def kill(self, actor: Actor, *, restart: bool) -> None:
        """End an actor's process; its calls are lost. ``restart``: start it again, where there is room."""

    def read(self, key: str) -> str | None:
        """A value of the cluster's own store; ``None`` without one, or while the store cannot be reached."""

    def write(self, key: str, value: str, *, overwrite: bool = True) -> bool:
        """Store a value; returns whether this call stored it."""

    def nodes(self) -> list[Node]:
        """The machines that are part of the cluster now. Raises :class:`LostError` while its head does not answer."""

    def free(self) -> Mapping[str, Mapping[str, float]]:
        """A machine's id -> what nobody has reserved there, as far as is known now. Raises as :meth:`nodes` does."""

    def node_of(self, actor: Actor) -> str:
        """The id of the machine on which an evaluator has a process; empty while it waits for room or has ended.

        Raises as :meth:`nodes` does.
        """

    def here(self) -> str:
        """The id of the node on which this process runs."""

    def create(self, name: str) -> Actor:
        """Begin to start an evaluator, which waits until it has room; returns at once."""

    def request(self, bundles: Sequence[Mapping[str, float]]) -> None:
        """Ask the autoscaler, if there is one, for a cluster that holds ``bundles`` beside what other studies ask for.

        A study's latest request counts; it ends with the study's driver. Raises :class:`LostError` while the head
        does not answer.
        """
