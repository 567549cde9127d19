"""A pool of Ray actors, shared by all trials of a study: each holds the network and the data, on its GPU if any.

Measured on Ray 2.60: one shared pool beats evaluators per trial (44.9 s instead of 82.6 s for the same work), because
the network and data load once and another trial's masks fill the gaps. Trials find the pool by name.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from raprune.engine import device_name
from raprune.engine.devices import check_device
from raprune.engine.inputs import Inputs
from raprune.engine.launches import masks_a_launch
from raprune.engine.tasks import Task
from raprune.engine.workload import Workload
from raprune.errors import InputError, naming_memory
from raprune.evaluators.backend import Actor, Ref
from raprune.evaluators.base import EvaluatedMask, Evaluator, PoolAddress
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.evaluators.engines import Engines
from raprune.evaluators.notices import Notices
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.evaluators.ray_backend import RayBackend
from raprune.evaluators.roster import Roster, refuse
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.registry import EVALUATORS
from raprune.study.parts import DataSpec, EvaluatorsSpec
from raprune.study.schema import TrialSpec
from raprune.system.quitting import quitting_is_a_fault
from raprune.system.telling import telling

if TYPE_CHECKING:
    from raprune.engine.cache.shared import HostStore

BATCH_BELOW_S = 0.02
"""Masks that take less than this are sent several per call."""
MAX_ENGINES = 4
MAX_STATES = 8

T = TypeVar("T")


class EvaluatorProcess:
    """The actor. Every call carries what it needs, so a restarted actor returns the same results.

    It keeps engines (network and data, loaded once per workload) and states only to avoid loading them again.
    """

    def __init__(
        self,
        name: str,
        settings: EvaluatorsSpec,
        device: str,
        import_path: tuple[str, ...] = (),
        namespace: str = "",
        data: DataSpec | None = None,
        shared: bytes = b"",
    ) -> None:
        """``namespace``: the study's; its evaluators on one host share what they keep.

        ``data``: how images are held on this host. ``shared``: where networks, data and checkpoints are
        (:func:`raprune.evaluators.sharing.pack`).
        """
        from raprune.engine import engine_kind
        from raprune.engine.cache.shared import HostStore  # torch is loaded before the first call
        from raprune.evaluators.sharing import unpack

        self.name = name
        self._inputs = Inputs(import_path)
        self._inputs.read_as(data or DataSpec())
        self._given = unpack(shared) if shared else None
        check_device(device)  # here: an evaluator that cannot be started is never called
        if self._given is not None:
            try:
                self._given.check_node()
            except InputError:
                refuse(RayBackend(namespace), name)
                raise
        self._states: dict[str, State] = {}
        self._store: HostStore | None = None
        self._pulse = Pulse(RayBackend(namespace), name) if namespace else None
        self._notices = Notices(RayBackend(namespace))
        if namespace and device == "cpu" and engine_kind(settings).reuses and settings.cache_gib > 0:
            self._store = HostStore(namespace, int(settings.cache_gib * 2**30))
        self._engines = Engines(self._inputs, settings, device, MAX_ENGINES, self._store)

    @contextlib.contextmanager
    def _call(self, kind: str) -> Iterator[None]:
        """The context in which every call runs."""
        pulse = self._pulse.during(kind) if self._pulse else contextlib.nullcontext()
        with quitting_is_a_fault(), telling(self._notices.add), pulse, naming_memory():
            yield

    def join(self, workload: Workload | None = None) -> list[tuple[str, str, str]]:
        """Load the data, and the network of ``workload``; returns where this is: node id, host, GPU's name if any."""
        import ray

        with self._call("join"):
            self._use_given()
            if workload is not None:
                self._local(workload)
            device = torch.device(self._engines.device)
        card = device_name(device) if device.type == "cuda" else ""
        return [(ray.get_runtime_context().get_node_id(), platform.node(), card)]

    def prepare(self, baselines: list[tuple[TrialSpec, Path]]) -> list[str]:
        """Prepare baselines on disk; returns their folders."""
        from raprune.baseline.prepare import prepare_baseline

        with self._call(f"prepare {[trial.baseline_key for trial, _ in baselines]}"):
            device, inputs = self._engines.device, self._use_given()
            return [prepare_baseline(trial, folder, device, inputs).folder for trial, folder in baselines]

    def _use_given(self) -> Inputs:
        """This process's inputs, with what the driver shared."""
        if self._given is not None:
            self._given.use(self._inputs)
            self._given = None
        return self._inputs

    def _local(self, workload: Workload) -> Evaluator:
        """This process's engine of ``workload``."""
        self._use_given()
        return self._engines.evaluator(workload, self.name)

    def _state(self, version: str, ref: list[Any]) -> State:
        """The state of this version, fetched once."""
        import ray

        if version not in self._states:
            while len(self._states) >= MAX_STATES:
                del self._states[next(iter(self._states))]
            self._states[version] = ray.get(ref[0])
        return self._states[version]

    def evaluate(
        self,
        workload: Workload,
        version: str,
        ref: list[Any],
        layer: str,
        lowest: float | None,
        items: list[tuple[KeepMask, Tally | None]],
    ) -> list[EvaluatedMask]:
        with self._call(f"evaluate {workload.key}"):
            masks, starts = [mask for mask, _ in items], [start for _, start in items]
            return self._local(workload).evaluate(self._state(version, ref), layer, masks, lowest, starts)

    def run(self, workload: Workload, version: str, ref: list[Any], task: Task[Any]) -> list[Any]:
        with self._call(f"{task.name} {workload.key}"):
            return [self._local(workload).run(task, self._state(version, ref))]

    def let_go(self) -> None:
        """Release the memory that the host shares; nothing is scored afterwards."""
        self._engines.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def ping(self) -> list[str]:
        return [self.name]

    def process_id(self) -> int:
        """The id of this process, to inspect or kill it."""
        return os.getpid()


@EVALUATORS.register("ray_pool", EvaluatorsSpec)
class RayPool:
    """A shared pool of Ray actors, one GPU (or a share of one, or a processor core) each."""

    def __init__(self, settings: EvaluatorsSpec, workload: Workload, pool: PoolAddress | None) -> None:
        if pool is None:
            raise ValueError("ray_pool needs the address of a pool of evaluators")
        self.workload = workload
        self._a_launch = masks_a_launch(workload, settings.device)
        self._backend = backend = pool.connect()
        self.dispatcher = Dispatcher({}, backend, pool.turn, roster=Roster(backend), pulses=Pulses(backend))
        self._refs: dict[str, Ref] = {}
        self._mask_s = math.inf

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        ref = self._ref(state)
        size = self._masks_per_call(len(masks))
        pairs = list(zip(masks, starts or [None] * len(masks), strict=True))
        places = list(range(len(masks)))
        parts = [slice(at, at + size) for at in range(0, len(masks), size)]
        calls = [Call(pairs[part], places[part]) for part in parts]

        def submit(actor: Actor, items: list[Any]) -> Ref:
            return self._backend.call(actor, "evaluate", self.workload, state.version, ref, layer, lowest, items)

        results: list[EvaluatedMask] = self.dispatcher.run(calls, submit, f"scoring masks of {layer}")
        self._mask_s = sum(r.scored.seconds for r in results) / len(results)
        return results

    def run(self, task: Task[T], state: State) -> T:
        ref = self._ref(state)

        def submit(actor: Actor, items: list[Any]) -> Ref:
            return self._backend.call(actor, "run", self.workload, state.version, ref, *items)

        (result,) = self.dispatcher.run([Call([task], [0])], submit, task.name)
        return cast(T, result)

    def _ref(self, state: State) -> list[Any]:
        """A reference, in a list so that the actor fetches it only if it does not hold the version yet."""
        if state.version not in self._refs:
            while len(self._refs) >= 2:
                del self._refs[next(iter(self._refs))]
            self._refs[state.version] = self._backend.put(state)
        return [self._refs[state.version]]

    def _masks_per_call(self, num_masks: int) -> int:
        """As many as share a launch; otherwise chosen by the seconds per mask. No result depends on it."""
        if self._a_launch > 1:
            return self._a_launch
        share = -(-num_masks // max(1, len(self.dispatcher.members)))
        if self._mask_s >= BATCH_BELOW_S:
            return 1
        return max(1, min(share, int(BATCH_BELOW_S / max(self._mask_s, 1e-6))))
