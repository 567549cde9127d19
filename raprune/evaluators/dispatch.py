"""Calls to actors that may die or hang: at most two in flight each, quarantine by ping, four attempts per call.

Every wait of a study for its evaluators goes through here, from their start to the last score. Ray's own retries
are off: a restarted actor would run a repeated call on reset weights and return a wrong reward without an error. Here
every call carries its state, so a repeated call gives the same result wherever it runs.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from raprune.errors import EvaluatorError, RapruneError
from raprune.evaluators.pulse import Pulses

MAX_IN_FLIGHT = 2
MAX_ATTEMPTS = 4
STALL_S = 600.0
"""A trial fails after this many seconds without a living evaluator."""
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
    attempts: int = 0
    actor: int | None = None
    """The only actor that may take it; ``None`` where any may."""


Submit = Callable[[Any, list[Any]], Any]
"""(actor, items) -> object ref of a list with one result per item."""


@dataclass
class _Work:
    """The calls of one :meth:`Dispatcher.run`."""

    what: str
    pending: deque[Call]
    busy: list[int]
    """Calls in flight, per actor."""
    in_flight: dict[Any, tuple[Call, int]] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)


class Dispatcher:
    """Spreads calls over the actors of a pool and returns the results in order."""

    def __init__(
        self,
        actors: Sequence[Any],
        first: int = 0,
        *,
        names: Sequence[str] = (),
        pulses: Pulses | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``names``: the actors' names in ``pulses``. What ``check`` raises while waiting ends the wait."""
        self.actors = list(actors)
        self._names = list(names)
        self._pulses = pulses
        self._check = check
        self._next = first % max(1, len(self.actors))
        self._quarantined: dict[int, Any] = {}
        self._gone: dict[int, str] = {}
        """Actors that Ray does not restart, with the reason."""
        self._hung: set[int] = set()
        self._answered = [0.0] * len(self.actors)
        """Time (monotonic) at which each actor last answered or its loss was noticed."""

    def run(self, calls: Sequence[Call], submit: Submit, what: str, limit_s: float | None = None) -> list[Any]:
        """The results of all calls, ordered by index. ``what`` names the work in errors.

        Raises :class:`EvaluatorError` if a call is lost several times, no actor lives, or ``limit_s`` seconds pass.
        """
        work = _Work(what, deque(calls), [0] * len(self.actors))
        began = time.monotonic()
        self._answered = [began] * len(self.actors)
        while work.pending or work.in_flight:
            self._check()
            self._hand_out(work, submit)
            for ref in _ready(work):
                call, actor = work.in_flight.pop(ref)
                work.busy[actor] -= 1
                again = self._collect(ref, call, actor, work.results, what)
                work.pending.extendleft(reversed(again))
                self._answered[actor] = time.monotonic()
            self._release()
            self._end_hanging(work)
            self._give_up(work)
            if limit_s is not None and time.monotonic() - began > limit_s:
                left = len(work.pending) + len(work.in_flight)
                raise EvaluatorError(f"{what}: {left} of {len(calls)} calls were not answered within {limit_s:.0f} s")
        return [work.results[index] for index in sorted(work.results)]

    def each(self, submit: Submit, what: str, limit_s: float | None = None) -> list[Any]:
        """The result of one call to every actor; ``submit`` as in :meth:`run`, with one item."""
        calls = [Call([index], [index], actor=index) for index in range(len(self.actors))]
        return self.run(calls, submit, what, limit_s)

    def _hand_out(self, work: _Work, submit: Submit) -> None:
        for _ in range(len(work.pending)):
            call = work.pending.popleft()
            actor = self._free(work.busy, call.actor)
            if actor is None:
                work.pending.append(call)
                if call.actor is None:  # so no other call can be placed either
                    work.pending.rotate(1)
                    return
                continue
            work.busy[actor] += 1
            work.in_flight[submit(self.actors[actor], call.items)] = (call, actor)

    def _free(self, busy: list[int], wanted: int | None = None) -> int | None:
        """The least busy actor that may take a call, round robin among equals; ``busy`` counts calls per actor."""
        count = len(self.actors)
        for load in range(MAX_IN_FLIGHT):
            for step in range(count):
                actor = (self._next + step) % count
                if wanted not in (None, actor) or actor in self._quarantined or actor in self._gone:
                    continue
                if busy[actor] == load:
                    self._next = (actor + 1) % count
                    return actor
        return None

    def _collect(self, ref: Any, call: Call, actor: int, results: dict[int, Any], what: str) -> list[Call]:
        """Store a call's results; returns the calls to repeat if its actor was lost."""
        import ray

        try:
            results.update(zip(call.indices, ray.get(ref), strict=True))
            return []
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, RapruneError):
                raise error.cause from None
            raise EvaluatorError(f"{what} failed on an evaluator:\n{error}") from None
        except ray.exceptions.OutOfMemoryError as error:
            lost: Exception = error
            call.attempts = max(call.attempts, MAX_ATTEMPTS - 2)  # deterministic: one more try, alone
        except ray.exceptions.RayError as error:
            lost = error
        self._quarantined.setdefault(actor, self.actors[actor].ping.remote())
        attempts = call.attempts + 1
        if attempts >= MAX_ATTEMPTS:
            reason = f"{what}: its evaluator died {attempts} times; the last time {self._reason(lost, actor)}. {WAY_ON}"
            raise EvaluatorError(f"{reason}{_for_replay(call.items)}")
        return [Call([item], [i], attempts, call.actor) for item, i in zip(call.items, call.indices, strict=True)]

    def _reason(self, lost: Exception, actor: int) -> str:
        """Where and why an actor was lost, as part of a sentence."""
        place = self._pulses.place(self._names[actor]) if self._pulses else ""
        why = "it gave no sign of life and was ended" if actor in self._hung else why_lost(lost)
        return f"({place}) {why}" if place else why

    def _release(self) -> None:
        """Release actors that answer again from quarantine; ping the others again, unless they are gone."""
        import ray

        for actor, ref in list(self._quarantined.items()):
            ready, _ = ray.wait([ref], timeout=0)
            if not ready:
                continue
            try:
                ray.get(ref)
                del self._quarantined[actor]
                self._hung.discard(actor)
                self._answered[actor] = time.monotonic()
            except ray.exceptions.ActorDiedError as error:
                self._gone[actor] = why_lost(error)
                del self._quarantined[actor]
            except ray.exceptions.RayError:
                self._quarantined[actor] = self.actors[actor].ping.remote()

    def _end_hanging(self, work: _Work) -> None:
        """Kill the actors that show no sign of life; Ray restarts them, and their current calls are lost."""
        import ray

        if self._pulses is None or not self._pulses.is_due():
            return
        for actor in {actor for _, actor in work.in_flight.values()} | set(self._quarantined):
            if self._pulses.is_silent(self._names[actor]):
                self._hung.add(actor)
                if self._pulses.claim(self._names[actor]):
                    ray.kill(self.actors[actor], no_restart=False)

    def _give_up(self, work: _Work) -> None:
        """Raise if the actors that a call waits for have been dead for too long, or will not be restarted."""
        for call in work.pending if work.pending and work.pending[0].actor is not None else list(work.pending)[:1]:
            able = [call.actor] if call.actor is not None else list(range(len(self.actors)))
            living = [actor for actor in able if actor not in self._gone]
            if not living:
                reasons = "; ".join(dict.fromkeys(self._gone[actor] for actor in able))
                raise EvaluatorError(f"{work.what}: no evaluator can be restarted: {reasons}. {WAY_ON}")
            silent_s = time.monotonic() - max(self._answered[actor] for actor in living)
            if silent_s > STALL_S and all(actor in self._quarantined for actor in living):
                raise EvaluatorError(f"{work.what}: no evaluator has answered for {STALL_S:.0f} s. {WAY_ON}")


def _ready(work: _Work) -> list[Any]:
    """Wait a little; returns the calls that have ended."""
    import ray

    if not work.in_flight:
        time.sleep(0.05)
        return []
    enough = 1 if work.pending else len(work.in_flight)  # with nothing left to hand out, wait for all at once
    ready: list[Any] = ray.wait(list(work.in_flight), num_returns=enough, timeout=POLL_S)[0]
    return ready


def why_lost(error: Exception) -> str:
    """Why Ray lost a process, as part of a sentence."""
    import ray

    text = str(error)
    short = "memory pressure" in text or "out of memory" in text.lower()
    if short or isinstance(error, ray.exceptions.OutOfMemoryError):
        return "it was ended because its host ran out of memory"
    if "creation task" in text:
        return f"it could not be started: {text.strip().splitlines()[-1]}"
    if "its node" in text:
        return "its machine was lost"
    return "its process was killed or crashed (the kernel kills processes when memory is short, and says so in `dmesg`)"


def _for_replay(items: Sequence[Any]) -> str:
    masks = [list(item[0].key) for item in items if isinstance(item, tuple)]
    return f"\nmasks, for replay: {json.dumps(masks)}" if masks else ""
