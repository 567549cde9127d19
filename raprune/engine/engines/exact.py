"""The engine for all studies: the fastest way to a score on each device, at each fidelity."""

from __future__ import annotations

from raprune.engine.approximate import ApproximateEngine
from raprune.engine.base import Engine
from raprune.engine.cache.prefix import Store
from raprune.engine.contract import EngineKind
from raprune.engine.exact import ExactEngine
from raprune.engine.inputs import Inputs
from raprune.engine.stacked import StackedEngine
from raprune.engine.together import TogetherEngine
from raprune.engine.workload import Workload
from raprune.registry import ENGINES
from raprune.study.parts import EvaluatorsSpec


@ENGINES.register("exact")
class Exact(EngineKind):
    """Computes nothing that is known, and changes no reward; on a GPU, several masks share a launch."""

    has_fidelities = True
    gives_up = True
    reuses = True

    def open(
        self, workload: Workload, device: str, spec: EvaluatorsSpec, store: Store | None, inputs: Inputs | None
    ) -> Engine:
        if workload.fidelity.together > 1:
            return TogetherEngine(workload, device, spec.cache_gib, store, inputs)
        if not workload.fidelity.is_full:
            return ApproximateEngine(workload, device, spec.cache_gib, store, inputs)
        kind = StackedEngine if device.startswith("cuda") else ExactEngine
        return kind(workload, device, spec.cache_gib, store, inputs)
