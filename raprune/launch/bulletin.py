"""What a study's console says of its pool: a line where the pool has changed, with the reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from raprune.evaluators.backend import Backend, Node
from raprune.launch.resources import Resources, Seat, evaluators, where
from raprune.launch.room import Room

SAY_S = 10.0
"""Seconds between two lines about the pool's size, so that many small changes make one."""
MOST_REASONS = 3
MOST_ALIKE = 8
"""Lines that differ in nothing but numbers; a start that fails each minute would fill the console."""


class Bulletin:
    """Collects what happens to a pool and tells it."""

    def __init__(self, backend: Backend, resources: Resources, tell: Callable[[str], None]) -> None:
        """``tell`` gets each line."""
        self._backend, self._resources, self._tell = backend, resources, tell
        self.nodes: dict[str, str] = {}
        """The machines at the last look, id -> name."""
        self._no_room = ""
        self._reasons: list[str] = []
        self._refused: set[str] = set()
        """Why evaluators could not be started; each is told once."""
        self._alike: Counter[str] = Counter()
        """Of those that differ in numbers only, as in how much memory is free, how many were told."""
        self._said = ""
        self._said_at = float("-inf")

    def see(self, nodes: Sequence[Node]) -> None:
        """Take in the machines that there are now."""
        before, self.nodes = self.nodes, {node.id: node.name for node in nodes}
        self._no_room = self._resources.no_room(nodes)
        if before:
            joined = sorted(name for node, name in self.nodes.items() if node not in before)
            lost = sorted(name for node, name in before.items() if node not in self.nodes)
            self._reasons += [f"{name} joined" for name in joined] + [f"{name} was lost" for name in lost]

    def because(self, reason: str) -> None:
        """Give a reason for what the next line says."""
        self._reasons.append(reason)

    def no_longer(self, reason: str) -> None:
        """Take a reason back that no line has given yet."""
        self._reasons = [text for text in self._reasons if text != reason]

    def refused(self, evaluator: str, why: str) -> None:
        """An evaluator could not be started."""
        reason = _last_line(why)
        kind = re.sub(r"[0-9]+", "0", reason)
        if reason not in self._refused and self._alike[kind] < MOST_ALIKE:
            self._refused.add(reason)
            self._alike[kind] += 1
            self._tell(f"{evaluator} cannot be used: {reason}")
            self._said = ""  # so that the next line describes the pool again

    def say(self, serving: Sequence[Seat], begun: bool, room: Room, failure: str) -> None:
        """Tell what has changed, if anything and if it is time to.

        ``serving``: where evaluators are at work. ``begun``: the pool has had as many as it begins with.
        ``failure``: why the latest one could not be started, empty if it could.
        """
        now, least = self._backend.now(), self._resources.least
        if serving and begun:
            text = where(serving, self._resources.device)
        elif len(serving) < least and (room.fits < least or failure):
            text = f"waiting for {evaluators(least)} ({self._resources.device}): {self._lacks(room, failure)}"
        else:
            return
        if text == self._said or now - self._said_at < SAY_S:
            return
        in_use = ["the rest of the cluster is in use"] * (bool(serving) and room.fits < min(room.wanted, room.whole))
        reasons = "; ".join(dict.fromkeys(self._reasons[-MOST_REASONS:] + in_use))
        self._tell(f"{text}; {reasons}" if reasons else text)
        self._said, self._said_at, self._reasons = text, now, []

    def _lacks(self, room: Room, failure: str) -> str:
        """What the study waits for."""
        if failure:
            return _last_line(failure)
        nodes = f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'}"
        fits = f"room for {room.fits}" if room.fits else "no room for one" if room.whole else self._no_room
        if room.fits < room.whole:
            here = f"the cluster has {fits} on its {nodes} beside what is in use"
            return f"{here}; room that becomes free and nodes that join are used"
        return f"the cluster has {fits} on its {nodes}; nodes that join are used"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]
