"""The actors of a pool as one dispatcher sees them: who is free, in quarantine, gone, or new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raprune.evaluators.backend import Actor, Backend, CallError, LostError, Ref
from raprune.evaluators.roster import Roster

MAX_IN_FLIGHT = 2
"""Calls that an actor has in flight at most: one that it computes, and one that waits for it."""
REFRESH_S = 1.0
"""Seconds between two looks at the roster."""


@dataclass(frozen=True)
class Turn:
    """Which of a run's trials this is: those that run at once begin evenly spaced, each with evaluators of its own."""

    number: int = 0
    trials: int = 1
    """Of the run."""
    spacing: float = 1.0
    """Evaluators between the first ones of two trials, where not all trials run at once."""

    def first(self, number: int) -> int:
        """The first of so many evaluators, to be counted around."""
        return int(self.number * max(number / self.trials, self.spacing))


FIRST = Turn()


@dataclass(eq=False)
class Member:
    """One actor."""

    name: str
    actor: Actor
    busy: int = 0
    """Calls in flight."""
    ping: Ref | None = None
    """In quarantine since it was lost, until it answers this."""
    gone: str = ""
    """Why it does not start again."""
    hung: bool = False
    """It gave no sign of life, and was ended."""
    leaves: bool = False
    """The roster no longer lists it: it gets no more calls."""

    @property
    def is_usable(self) -> bool:
        return self.ping is None and not self.gone and not self.leaves


class Members:
    """The actors, by name, in an order that is the same for every call: the first of the least busy is handed out.

    So a trial stays with a few evaluators, which know its network's state. Where each trial begins the order elsewhere,
    all evaluators have as much to do, although no trial knows of another's calls.
    """

    def __init__(self, actors: Mapping[str, Actor], backend: Backend, turn: Turn, roster: Roster | None) -> None:
        """``turn`` says with which of them the order begins."""
        self._backend = backend
        self._roster = roster
        self._turn = turn
        self._by_name = {name: Member(name, actor) for name, actor in actors.items()}
        self._order = self._ordered()
        self._busy: set[Member] = set()
        self._away: dict[str, Member] = {}
        """Those in quarantine."""
        self._ended = ""
        self._looked: float | None = None

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def names(self) -> list[str]:
        return list(self._by_name)

    def begin(self, num_calls: int) -> None:
        """Forget the calls of earlier work, none of which is waited for any more; ``num_calls`` are to come.

        Where they are many for the pool, they go round it, so that no evaluator has one more each time.
        """
        for member in self._busy:
            member.busy = 0
        self._busy.clear()
        if self._order and len(self._order) < 2 * num_calls:
            behind = num_calls % len(self._order)
            self._order = self._order[behind:] + self._order[:behind]

    def free(self, wanted: str | None = None) -> Member | None:
        """The member that gets the next call; with ``wanted`` only that one."""
        able = self._order if wanted is None else [self._by_name[wanted]] * (wanted in self._by_name)
        for load in range(MAX_IN_FLIGHT):
            for member in able:
                if member.busy == load and member.is_usable:
                    return member
        return None

    def asked(self, member: Member) -> None:
        """A call was handed to it."""
        member.busy += 1
        self._busy.add(member)

    def answered(self, member: Member) -> None:
        """One of its calls has ended, whether or not with a result."""
        member.busy -= 1
        if not member.busy:
            self._busy.discard(member)

    def quarantine(self, member: Member) -> None:
        """It was lost: give it nothing until it answers again."""
        if member.ping is None and not member.gone:
            member.ping = self._backend.call(member.actor, "ping")
            self._away[member.name] = member

    def quarantined(self) -> dict[str, Member]:
        return dict(self._away)

    def ended(self, wanted: str | None) -> str:
        """Why none of those that may take a call will ever come back; empty while one may."""
        if self._ended or (self._roster is not None and wanted is None):
            return self._ended
        able = [m for m in self._by_name.values() if wanted in (None, m.name)]
        if any(not member.gone for member in able):
            return ""
        return "; ".join(dict.fromkeys(member.gone for member in able)) or f"{wanted or 'every one'} has left the pool"

    def refresh(self) -> None:
        """Look who answers again, who came and who left."""
        for member in self.quarantined().values():
            self._look_after(member)
        now = self._backend.now()
        if self._roster is None or (self._looked is not None and now - self._looked < REFRESH_S):
            return
        self._looked = now
        listing = self._roster.read()
        if listing is None:
            return
        self._ended = listing.ended
        if list(listing.names) == list(self._by_name):
            return
        before = self._by_name
        found = {name: before.get(name) or self._found(name) for name in listing.names}
        self._by_name = {name: member for name, member in found.items() if member is not None}
        for name in before.keys() - self._by_name.keys():
            before[name].leaves = True
            self._away.pop(name, None)
        self._order = self._ordered()

    def _found(self, name: str) -> Member | None:
        try:
            return Member(name, self._backend.find(name))
        except LostError:  # it left in this moment
            return None

    def _ordered(self) -> list[Member]:
        members = list(self._by_name.values())
        start = self._turn.first(len(members)) % max(1, len(members))
        return members[start:] + members[:start]

    def _look_after(self, member: Member) -> None:
        """Release it from quarantine if it answers; ping it again if that ping was lost, too, unless it is gone."""
        assert member.ping is not None
        if not self._backend.wait([member.ping], 1, 0):
            return
        try:
            self._backend.result(member.ping)
        except LostError as error:
            if not error.for_good:
                member.ping = self._backend.call(member.actor, "ping")
                return
            member.gone = str(error)
        except CallError as error:
            member.gone = str(error)
        member.ping, member.hung = None, False
        self._away.pop(member.name, None)
