"""One evaluator of a pool, as the pool's keeper sees it."""

from __future__ import annotations

from dataclasses import dataclass

from raprune.evaluators.backend import Actor, Ref
from raprune.launch.resources import Seat

PLACE_S = 60.0
"""An evaluator without a process for this long waits for room: the start of a process may take a while."""


@dataclass(eq=False)
class Pooled:
    """Where it stands."""

    name: str
    actor: Actor
    answer: Ref | None
    """What its latest greeting returns; ``None`` once it has."""
    heard: float
    """When it last answered, or was created."""
    asked: float = float("-inf")
    """When its latest greeting was sent."""
    seat: Seat | None = None
    """Where it runs; ``None`` until it has joined."""
    left: float | None = None
    """When it left the roster; it is ended when its last calls have ended."""
    node: str = ""
    """The machine of its process; empty while it has none."""
    _none_since: float | None = None
    _some_since: float | None = None

    def is_on(self, node: str, now: float) -> None:
        """Its process is on this machine; empty: it has none."""
        since = now if self._none_since is None else self._none_since
        first = now if self._some_since is None else self._some_since
        self.node, self._none_since, self._some_since = node, None if node else since, first if node else None

    def started_for(self, now: float) -> float:
        """Seconds for which it has had a process; 0 without one."""
        return 0.0 if self._some_since is None else now - self._some_since

    def lacks_room(self, now: float) -> bool:
        """Whether it has had no process for long."""
        return self._none_since is not None and now - self._none_since > PLACE_S
