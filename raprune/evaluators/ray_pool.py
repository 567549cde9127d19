"""A pool of Ray actors, shared by all trials of a study: each holds the network and the data, on its GPU if any.

Measured on Ray 2.60: one shared pool beats evaluators per trial (44.9 s instead of 82.6 s for the same work), for the
network and data load once and another trial's masks fill the gaps. Trials find the pool by name.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from raprune.engine.inputs import Inputs
from raprune.engine.launches import MASKS_A_LAUNCH, Purpose, shares_launches
from raprune.engine.workload import Workload
from raprune.evaluators.base import EvaluatedMask, PoolAddress
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.evaluators.engines import Engines
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.network.lowrank.factor import Factor
from raprune.network.masks import pack, unpack
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.registry import EVALUATORS
from raprune.study.parts import EvaluatorsSpec
from raprune.study.schema import TrialSpec
from raprune.system.quitting import quitting_is_a_fault

if TYPE_CHECKING:
    from raprune.engine.cache.shared import HostStore
    from raprune.evaluators.sharing import Refs, SharedGiven

BATCH_BELOW_S = 0.02
"""Masks that take less than this travel several to a call."""
MAX_ENGINES = 4
MAX_STATES = 8


class EvaluatorProcess:
    """The actor. Every call carries what it needs, so one that was restarted gives the same results.

    Its engine (network and data, loaded once for each workload) and states are kept only to save their loading.
    """

    def __init__(
        self,
        name: str,
        settings: EvaluatorsSpec,
        device: str,
        import_path: tuple[str, ...] = (),
        namespace: str = "",
        given: SharedGiven | None = None,
    ) -> None:
        """``namespace`` is the study's: evaluators of one host and study share what they keep.

        ``given`` is what a program gave; an evaluator that is started again has it, too.
        """
        from raprune.engine.cache.shared import HostStore  # torch is loaded before the first call

        self.name = name
        self._inputs = Inputs(import_path)
        self._given = given
        self._states: dict[str, State] = {}
        self._store: HostStore | None = None
        self._pulse = Pulse(namespace, name) if namespace else None
        if namespace and device == "cpu" and settings.engine == "exact" and settings.cache_gib > 0:
            self._store = HostStore(namespace, int(settings.cache_gib * 2**30))
        self._engines = Engines(self._inputs, settings, device, MAX_ENGINES, self._store)

    @contextlib.contextmanager
    def _call(self, kind: str) -> Iterator[None]:
        """What every call happens in."""
        with quitting_is_a_fault(), self._pulse.during(kind) if self._pulse else contextlib.nullcontext():
            yield

    def use_data(self, data: Refs) -> list[None]:
        """Read data sets from the object store; an evaluator that was started again decodes its own."""
        from raprune.evaluators.sharing import use_shared

        with self._call("use_data"):
            use_shared(data, self._inputs)
        return [None]

    def prepare(self, baselines: list[tuple[TrialSpec, Path]]) -> list[str]:
        """Prepare baselines on disk; returns their folders."""
        from raprune.baseline.prepare import prepare_baseline

        with self._call("prepare"):
            device, inputs = self._engines.device, self._use_given()
            return [prepare_baseline(trial, folder, device, inputs).folder for trial, folder in baselines]

    def _use_given(self) -> Inputs:
        """What this process reads, with what a program gave."""
        if self._given is not None:
            self._given.use(self._inputs)
            self._given = None
        return self._inputs

    def _engine(self, workload: Workload) -> Any:
        self._use_given()
        return self._engines.of(workload)

    def _state(self, version: str, ref: list[Any]) -> State:
        """The state of a version; fetched once, and copied out of the object store before anything writes to it."""
        import ray

        if version not in self._states:
            while len(self._states) >= MAX_STATES:
                del self._states[next(iter(self._states))]
            state: State = ray.get(ref[0])
            self._states[version] = _copied(state)
        return self._states[version]

    def evaluate(
        self,
        workload: Workload,
        version: str,
        ref: list[Any],
        layer: str,
        lowest: float | None,
        items: list[tuple[bytes, Tally | None]],
    ) -> list[EvaluatedMask]:
        with self._call("evaluate"):
            engine, state = self._engine(workload), self._state(version, ref)
            masks, starts = [unpack(mask) for mask, _ in items], [start for _, start in items]
            found = engine.evaluate_many(state, layer, masks, lowest, starts)
        return [EvaluatedMask(scored, self.name) for scored in found]

    def candidate(self, workload: Workload, version: str, ref: list[Any], layer: str, mask: bytes) -> list[State]:
        with self._call("candidate"):
            return [self._engine(workload).candidate(self._state(version, ref), layer, unpack(mask))]

    def finetune(
        self, workload: Workload, version: str, ref: list[Any], purpose: Purpose, seeded_by: str
    ) -> list[State]:
        with self._call(f"finetune {purpose}"):
            return [self._engine(workload).finetune(self._state(version, ref), purpose, seeded_by)]

    def energies(
        self, workload: Workload, version: str, ref: list[Any], layer: str, scheme: str, num_images: int
    ) -> list[list[float]]:
        with self._call("energies"):
            return [self._engine(workload).energies(self._state(version, ref), layer, scheme, num_images)]

    def factorise(
        self, workload: Workload, version: str, ref: list[Any], layer: str, factor: Factor, num_images: int
    ) -> list[State]:
        with self._call("factorise"):
            return [self._engine(workload).factorise(self._state(version, ref), layer, factor, num_images)]

    def measure(self, workload: Workload, version: str, ref: list[Any], split: str) -> list[float]:
        with self._call(f"measure {split}"):
            return [self._engine(workload).measure(self._state(version, ref), split)]

    def pictures(self, workload: Workload, version: str, ref: list[Any]) -> list[list[dict[str, Any]]]:
        with self._call("pictures"):
            return [self._engine(workload).pictures(self._state(version, ref))]

    def describe(self, workload: Workload) -> list[dict[str, object]]:
        with self._call("describe"):
            return [{"name": self.name, "process": os.getpid(), **self._engine(workload).describe()}]

    def let_go(self) -> None:
        """Let go of what is kept in memory for the host; nothing is scored after this."""
        self._engines.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def ping(self) -> list[str]:
        return [self.name]

    def process_id(self) -> int:
        """For whoever wants to look at it, or to end it."""
        return os.getpid()


@EVALUATORS.register("ray_pool", EvaluatorsSpec)
class RayPool:
    """A shared pool of Ray actors, one GPU (or a share of one, or a processor core) each."""

    def __init__(self, settings: EvaluatorsSpec, workload: Workload, pool: PoolAddress | None) -> None:
        import ray

        if pool is None:
            raise ValueError("a pool of evaluators is needed")
        self.workload = workload
        self._by_launch = shares_launches(workload, settings.device)
        actors = [ray.get_actor(name, namespace=pool.namespace) for name in pool.names]
        pulses = Pulses(pool.namespace)
        self.dispatcher = Dispatcher(actors, first=os.getpid(), names=pool.names, pulses=pulses)
        self._refs: dict[str, Any] = {}
        self._mask_s = math.inf

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[Tensor],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        ref = self._ref(state)
        size = self._masks_per_call(len(masks))
        pairs = list(zip(map(pack, masks), starts or [None] * len(masks), strict=True))
        places = list(range(len(masks)))
        parts = [slice(at, at + size) for at in range(0, len(masks), size)]
        calls = [Call(pairs[part], places[part]) for part in parts]

        def submit(actor: Any, items: list[Any]) -> Any:
            return actor.evaluate.remote(self.workload, state.version, ref, layer, lowest, items)

        results: list[EvaluatedMask] = self.dispatcher.run(calls, submit, f"scoring masks of {layer}")
        self._mask_s = sum(r.scored.seconds for r in results) / len(results)
        return results

    def candidate(self, state: State, layer: str, mask: Tensor) -> State:
        return _copied(self._one("candidate", state, layer, pack(mask)))

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        return _copied(self._one("finetune", state, purpose, seeded_by))

    def energies(self, state: State, layer: str, scheme: str, num_images: int) -> list[float]:
        found: list[float] = self._one("energies", state, layer, scheme, num_images)
        return found

    def factorise(self, state: State, layer: str, factor: Factor, num_images: int) -> State:
        return _copied(self._one("factorise", state, layer, factor, num_images))

    def measure(self, state: State, split: str) -> float:
        score: float = self._one("measure", state, split)
        return score

    def pictures(self, state: State) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._one("pictures", state)
        return rows

    def describe(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.dispatcher.each(
            lambda actor, items: actor.describe.remote(self.workload), "loading the network and the data"
        )
        return found

    def _one(self, method: str, state: State, *args: Any) -> Any:
        ref = self._ref(state)

        def submit(actor: Any, items: list[Any]) -> Any:
            del items
            return getattr(actor, method).remote(self.workload, state.version, ref, *args)

        return self.dispatcher.run([Call([method], [0])], submit, method)[0]

    def _ref(self, state: State) -> list[Any]:
        """A reference in a list: the actor fetches it only if it does not have the version yet."""
        import ray

        if state.version not in self._refs:
            while len(self._refs) >= 2:
                del self._refs[next(iter(self._refs))]
            self._refs[state.version] = ray.put(state)
        return [self._refs[state.version]]

    def _masks_per_call(self, num_masks: int) -> int:
        """As many as share a launch; else by what a mask takes. No number depends on it."""
        if self._by_launch:
            return MASKS_A_LAUNCH
        share = -(-num_masks // len(self.dispatcher.actors))
        if self._mask_s >= BATCH_BELOW_S:
            return 1
        return max(1, min(share, int(BATCH_BELOW_S / max(self._mask_s, 1e-6))))


def _copied(state: State) -> State:
    """The same state in memory of its own, not the object store's."""
    return replace(state, arrays={name: np.array(array) for name, array in state.arrays.items()})
