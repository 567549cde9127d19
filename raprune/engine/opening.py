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
    """The kind of engine that ``spec.engine`` names: it declares what the engine can do, and opens it."""
    kind: EngineKind = ENGINES.build(spec.engine, {})
    return kind


def open_engine(
    workload: Workload,
    device: str,
    spec: EvaluatorsSpec,
    store: Store | None = None,
    inputs: Inputs | None = None,
) -> Engine:
    """Open an engine for ``workload`` on ``device``; ``store``, if any, holds activations instead of this process.

    Its network and data come from ``inputs``. Raises :class:`InputError` if ``workload`` has a fidelity and the engine
    supports none.
    """
    kind = engine_kind(spec)
    if not workload.fidelity.is_full and not kind.has_fidelities:
        raise InputError(f"the {spec.engine} engine has no fidelities: omit fidelity, or use another engine")
    return kind.open(workload, device, spec, store, inputs)
