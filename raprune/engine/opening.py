"""The engine that a study asks for."""

from __future__ import annotations

from raprune.engine.base import Engine
from raprune.engine.exact import ExactEngine
from raprune.engine.naive import NaiveEngine
from raprune.engine.prefix import Store
from raprune.study.schema import EvaluatorsSpec
from raprune.workload import Workload


def open_engine(workload: Workload, device: str, spec: EvaluatorsSpec, store: Store | None = None) -> Engine:
    """An engine for ``workload`` on ``device``; ``store`` keeps prefixes in the place of this process's own memory."""
    if spec.engine == "naive":
        return NaiveEngine(workload, device)
    return ExactEngine(workload, device, spec.cache_gib, store)
