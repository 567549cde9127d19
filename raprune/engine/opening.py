"""The engine that a study asks for."""

from __future__ import annotations

from raprune.engine.approximate import ApproximateEngine
from raprune.engine.base import Engine
from raprune.engine.cache.prefix import Store
from raprune.engine.exact import ExactEngine
from raprune.engine.inputs import Inputs
from raprune.engine.naive import NaiveEngine
from raprune.engine.stacked import StackedEngine
from raprune.engine.workload import Workload
from raprune.errors import InputError
from raprune.study.parts import EvaluatorsSpec


def open_engine(
    workload: Workload,
    device: str,
    spec: EvaluatorsSpec,
    store: Store | None = None,
    inputs: Inputs | None = None,
) -> Engine:
    """An engine for ``workload`` on ``device``; ``store`` keeps prefixes in the place of this process's own memory.

    It takes its network and data from ``inputs``.
    """
    if spec.engine == "naive":
        if not workload.fidelity.is_full:
            raise InputError("engine naive has no fidelities: leave fidelity out, or take engine exact")
        return NaiveEngine(workload, device, inputs=inputs)
    if not workload.fidelity.is_full:
        return ApproximateEngine(workload, device, spec.cache_gib, store, inputs)
    kind = StackedEngine if device.startswith("cuda") else ExactEngine
    return kind(workload, device, spec.cache_gib, store, inputs)
