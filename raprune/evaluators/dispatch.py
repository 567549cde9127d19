"""Calls to a pool of actors that may die: at most two in flight each, quarantine by ping, four attempts a mask.

Ray's own retries are off: a restarted actor would run a repeated call on reset weights and return a wrong reward
without an error. Here every call carries its state, so a repeated call gives the same result wherever it runs.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raprune.errors import EvaluatorError, RapruneError

MAX_IN_FLIGHT = 2
MAX_ATTEMPTS = 4
STALL_S = 600.0
"""Without any living evaluator for this long, a trial fails."""
POLL_S = 1.0


@dataclass
class Call:
    """One call to whichever actor is free; ``items`` are packed masks with their tallies, or what else it is for."""

    items: list[Any]
    indices: list[int]
    attempts: int = 0


Submit = Callable[[Any, list[Any]], Any]
"""(actor, items) -> object ref of a list with one result an item."""


class Dispatcher:
    """Spreads calls over the actors of a pool and brings the results back in order."""

    def __init__(self, actors: Sequence[Any], first: int = 0) -> None:
        self.actors = list(actors)
        self._next = first % max(1, len(self.actors))
        self._quarantined: dict[int, Any] = {}

    def run(self, calls: Sequence[Call], submit: Submit, what: str) -> list[Any]:
        """The results of all calls, by index. Raises :class:`EvaluatorError`; ``what`` names the work in it."""
        import ray

        pending = deque(calls)
        in_flight: dict[Any, tuple[Call, int]] = {}
        busy = [0] * len(self.actors)
        results: dict[int, Any] = {}
        alive_at = time.monotonic()
        while pending or in_flight:
            while pending and (actor := self._free(busy)) is not None:
                call = pending.popleft()
                busy[actor] += 1
                in_flight[submit(self.actors[actor], call.items)] = (call, actor)
            if in_flight:
                enough = 1 if pending else len(in_flight)  # with nothing left to hand out, one wait serves for all
                ready, _ = ray.wait(list(in_flight), num_returns=enough, timeout=POLL_S)
            else:
                ready = []
                time.sleep(0.05)
            for ref in ready:
                call, actor = in_flight.pop(ref)
                busy[actor] -= 1
                again = self._collect(ref, call, actor, results, what)
                pending.extendleft(reversed(again))
                alive_at = alive_at if again else time.monotonic()
            self._release()
            if len(self._quarantined) == len(self.actors) and time.monotonic() - alive_at > STALL_S:
                raise EvaluatorError(f"{what}: no evaluator has answered for {STALL_S:.0f} s")
        return [results[index] for index in sorted(results)]

    def _free(self, busy: list[int]) -> int | None:
        """The least busy actor that may take a call, round robin among equals; ``busy`` counts calls an actor."""
        count = len(self.actors)
        for load in range(MAX_IN_FLIGHT):
            for step in range(count):
                actor = (self._next + step) % count
                if busy[actor] == load and actor not in self._quarantined:
                    self._next = (actor + 1) % count
                    return actor
        return None

    def _collect(self, ref: Any, call: Call, actor: int, results: dict[int, Any], what: str) -> list[Call]:
        """Store a call's results; the calls to make again where its actor was lost."""
        import ray

        try:
            results.update(zip(call.indices, ray.get(ref), strict=True))
            return []
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
            lost: Exception = error
        except ray.exceptions.OutOfMemoryError as error:
            lost = error
            call.attempts = max(call.attempts, MAX_ATTEMPTS - 2)  # deterministic: one more try, alone
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, RapruneError):
                raise error.cause from None
            raise EvaluatorError(f"{what} failed on an evaluator:\n{error}") from None
        self._quarantined.setdefault(actor, self.actors[actor].ping.remote())
        attempts = call.attempts + 1
        if attempts >= MAX_ATTEMPTS:
            masks = json.dumps([list(item[0]) if isinstance(item, tuple) else repr(item) for item in call.items])
            raise EvaluatorError(f"{what}: its evaluator died {attempts} times; masks, for replay: {masks}\n{lost}")
        return [Call([item], [i], attempts) for item, i in zip(call.items, call.indices, strict=True)]

    def _release(self) -> None:
        """Actors that answer again leave quarantine; those that do not are asked again."""
        import ray

        for actor, ref in list(self._quarantined.items()):
            ready, _ = ray.wait([ref], timeout=0)
            if not ready:
                continue
            try:
                ray.get(ref)
                del self._quarantined[actor]
            except ray.exceptions.RayError:
                self._quarantined[actor] = self.actors[actor].ping.remote()
