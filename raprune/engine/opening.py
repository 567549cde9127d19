"""The engine that a study asks for."""

from __future__ import annotations

from raprune.engine.base import Engine
from raprune.engine.cache.prefix import Store
from raprune.engine.contract import EngineKind
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload
from raprune.errors import InputError
from raprune.registry import ENGINES
from raprune.study.parts import EvaluatorsSpec


def engine_kind(spec: EvaluatorsSpec) -> EngineKind:
    """What ``spec.engine`` names: it says what the engine can do, and opens it."""
    kind: EngineKind = ENGINES.build(spec.engine, {})
    return kind


def open_engine(
    workload: Workload,
    device: str,
    spec: EvaluatorsSpec,
    store: Store | None = None,
    inputs: Inputs | None = None,
) -> Engine:
    """An engine for ``workload`` on ``device``; ``store`` holds activations in place of this process's own memory.

    Its network and data come from ``inputs``. Raises :class:`InputError` where ``workload`` has a fidelity that the
    engine does not have.
    """
    kind = engine_kind(spec)
    if not workload.fidelity.is_full and not kind.has_fidelities:
        raise InputError(f"engine {spec.engine} has no fidelities: leave fidelity out, or take another engine")
    return kind.open(workload, device, spec, store, inputs)
