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
    """The actors, by name; the least busy is handed out first, round robin among equals."""

    def __init__(self, actors: Mapping[str, Actor], backend: Backend, first: int, roster: Roster | None) -> None:
        """``first``: which of them comes first, counted around."""
        self._backend = backend
        self._roster = roster
        self._first = first
        self._by_name: dict[str, Member] = {}
        self._free: list[dict[Member, None]] = [{} for _ in range(MAX_IN_FLIGHT)]
        """Calls in flight -> the usable members with as many, the next one first."""
        self._ended = ""
        self._looked: float | None = None
        self._add(actors)

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def names(self) -> list[str]:
        return list(self._by_name)

    def begin(self) -> None:
        """Forget the calls of earlier work, none of which is waited for any more."""
        for member in self._by_name.values():
            member.busy = 0
            self._settle(member)

    def free(self, wanted: str | None = None) -> Member | None:
        """The member that gets the next call; with ``wanted`` only that one."""
        for members in self._free:
            for member in members:
                if wanted in (None, member.name):
                    return member
        return None

    def asked(self, member: Member) -> None:
        """A call was handed to it."""
        member.busy += 1
        self._settle(member)

    def answered(self, member: Member) -> None:
        """One of its calls has ended, whether or not with a result."""
        member.busy -= 1
        self._settle(member)

    def quarantine(self, member: Member) -> None:
        """It was lost: give it nothing until it answers again."""
        if member.ping is None and not member.gone:
            member.ping = self._backend.call(member.actor, "ping")
        self._settle(member)

    def quarantined(self) -> dict[str, Member]:
        return {name: member for name, member in self._by_name.items() if member.ping is not None}

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
        new = [name for name in listing.names if name not in self._by_name]
        for name in self._by_name.keys() - listing.names:
            member = self._by_name.pop(name)
            member.leaves = True
            self._settle(member)
        self._add({name: actor for name in new if (actor := self._found(name)) is not None})

    def _found(self, name: str) -> Actor | None:
        try:
            return self._backend.find(name)
        except LostError:  # it left in this moment
            return None

    def _add(self, actors: Mapping[str, Actor]) -> None:
        names = list(actors)
        start = self._first % max(1, len(names))
        for name in names[start:] + names[:start]:
            self._by_name[name] = Member(name, actors[name])
            self._settle(self._by_name[name])

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
        self._settle(member)

    def _settle(self, member: Member) -> None:
        """Put it behind all others that have as many calls in flight, or nowhere."""
        for members in self._free:
            members.pop(member, None)
        if member.is_usable and member.busy < MAX_IN_FLIGHT:
            self._free[member.busy][member] = None
