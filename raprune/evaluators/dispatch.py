"""Calls to actors that may die or hang: at most two in flight each, quarantine by ping, four attempts per call.

Every wait of a study for its evaluators goes through here, from their start to the last score. Ray's own retries
are off: a restarted actor would run a repeated call on reset weights and return a wrong reward without an error. Here
every call carries its state, so a repeated call gives the same result wherever it runs, and evaluators may come and go
at any moment.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raprune.errors import EvaluatorError
from raprune.evaluators.backend import Actor, Backend, CallError, LostError, Ref
from raprune.evaluators.members import FIRST, Member, Members, Turn
from raprune.evaluators.pulse import Pulses
from raprune.evaluators.roster import Roster

MAX_ATTEMPTS = 4
POLL_S = 1.0
WAY_ON = (
    "The same command resumes from what is on disk. Where memory is short, use fewer evaluators (--evaluators) or a "
    "smaller scoring.batch_size."
)


@dataclass
class Call:
    """One call to whichever actor is free; ``items`` are masks with their tallies, or the arguments of other work."""

    items: list[Any]
    indices: list[int]
    actor: str | None = None
    """The only actor that may take it; ``None`` where any may."""
    lost_on: list[str] = field(default_factory=list)
    """The nodes of the actors that were lost while they computed it; empty for a node that is not known."""


Submit = Callable[[Actor, list[Any]], Ref]
"""(actor, items) -> reference of a list with one result per item."""


@dataclass
class _Work:
    """The calls of one :meth:`Dispatcher.run`."""

    what: str
    pending: deque[Call]
    in_flight: dict[Ref, tuple[Call, Member]] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)


class Dispatcher:
    """Spreads calls over the actors of a pool and returns the results in order."""

    def __init__(
        self,
        actors: Mapping[str, Actor],
        backend: Backend,
        turn: Turn = FIRST,
        *,
        roster: Roster | None = None,
        pulses: Pulses | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``actors``: name -> handle; with a ``roster``, those that it lists later are used, too.

        What ``check`` raises while waiting ends the wait.
        """
        self.members = Members(actors, backend, turn, roster)
        self._backend = backend
        self._pulses = pulses
        self._check = check

    def run(self, calls: Sequence[Call], submit: Submit, what: str, limit_s: float | None = None) -> list[Any]:
        """The results of all calls, ordered by index. ``what`` names the work in errors.

        Waits while there is no actor. Raises :class:`EvaluatorError` if a call is lost several times, none of the
        actors can come back, or ``limit_s`` seconds pass.
        """
        work = _Work(what, deque(calls))
        began = self._backend.now()
        self.members.begin(len(calls))
        while work.pending or work.in_flight:
            self._check()
            self.members.refresh()
            self._hand_out(work, submit)
            for ref in self._ready(work):
                call, member = work.in_flight.pop(ref)
                self.members.answered(member)
                work.pending.extendleft(reversed(self._collect(ref, call, member, work)))
            self._end_hanging(work)
            self._give_up(work)
            if limit_s is not None and self._backend.now() - began > limit_s:
                left = len(work.pending) + len(work.in_flight)
                raise EvaluatorError(f"{what}: {left} of {len(calls)} calls were not answered within {limit_s:.0f} s")
        return [work.results[index] for index in sorted(work.results)]

    def each(self, submit: Submit, what: str, limit_s: float | None = None) -> list[Any]:
        """The result of one call to every actor; ``submit`` as in :meth:`run`, with one item."""
        calls = [Call([index], [index], actor=name) for index, name in enumerate(self.members.names())]
        return self.run(calls, submit, what, limit_s)

    def _hand_out(self, work: _Work, submit: Submit) -> None:
        for _ in range(len(work.pending)):
            call = work.pending.popleft()
            member = self.members.free(call.actor)
            if member is None:
                work.pending.append(call)
                if call.actor is None:  # so no other call can be placed either
                    work.pending.rotate(1)
                    return
                continue
            self.members.asked(member)
            work.in_flight[submit(member.actor, call.items)] = (call, member)

    def _ready(self, work: _Work) -> list[Ref]:
        """Wait a little; returns the calls that have ended."""
        if not work.in_flight:
            self._backend.sleep(0.05)
            return []
        # with nothing left to hand out, wait for all at once
        enough = 1 if work.pending else len(work.in_flight)
        return self._backend.wait(list(work.in_flight), enough, POLL_S)

    def _collect(self, ref: Ref, call: Call, member: Member, work: _Work) -> list[Call]:
        """Store a call's results; returns the calls to repeat if its actor was lost."""
        try:
            work.results.update(zip(call.indices, self._backend.result(ref), strict=True))
            return []
        except CallError as error:
            raise EvaluatorError(f"{work.what} failed on an evaluator:\n{error}") from None
        except LostError as error:
            lost = error
        node = self._pulses.node(member.name) if self._pulses else ""
        self.members.quarantine(member)
        if not member.leaves:
            # memory is deterministic: one more try, alone
            call.lost_on += [node] * (max(1, MAX_ATTEMPTS - 1 - len(call.lost_on)) if lost.memory else 1)
        if self._own_losses(call) >= MAX_ATTEMPTS:
            why = "it gave no sign of life and was ended" if member.hung else str(lost)
            place = self._pulses.place(member.name) if self._pulses else ""
            last = f"({place}) {why}" if place else why
            reason = f"{work.what}: its evaluator died {MAX_ATTEMPTS} times; the last time {last}. {WAY_ON}"
            raise EvaluatorError(f"{reason}{_for_replay(call.items)}")
        items = zip(call.items, call.indices, strict=True)
        return [Call([item], [index], call.actor, list(call.lost_on)) for item, index in items]

    def _own_losses(self, call: Call) -> int:
        """How many losses may be the call's own fault: a machine that is gone took its actors with it."""
        if len(call.lost_on) < MAX_ATTEMPTS:
            return len(call.lost_on)
        try:
            here = {"", *(node.id for node in self._backend.nodes())}
        except LostError:  # nobody knows
            return MAX_ATTEMPTS - 1
        return sum(node in here for node in call.lost_on)

    def _end_hanging(self, work: _Work) -> None:
        """Kill the actors that show no sign of life; they are restarted, and their current calls are lost."""
        if self._pulses is None or not self._pulses.is_due():
            return
        waited_for = {member.name: member for _, member in work.in_flight.values()} | self.members.quarantined()
        for name, member in waited_for.items():
            if self._pulses.hangs(name):
                member.hung = True
                if self._pulses.claim(name):
                    self._backend.kill(member.actor, restart=True)

    def _give_up(self, work: _Work) -> None:
        """Raise if none of the actors that a call waits for will ever come back."""
        for call in work.pending if work.pending and work.pending[0].actor is not None else list(work.pending)[:1]:
            reason = self.members.ended(call.actor)
            if reason:
                raise EvaluatorError(f"{work.what}: no evaluator can be restarted: {reason}. {WAY_ON}")


def _for_replay(items: Sequence[Any]) -> str:
    masks = [list(item[0].key) for item in items if isinstance(item, tuple)]
    return f"\nmasks, for replay: {json.dumps(masks)}" if masks else ""
