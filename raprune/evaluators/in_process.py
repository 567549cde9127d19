"""Scores in the process that asks: the serial twin of every parallel evaluator, and the one to debug with."""

from __future__ import annotations

from raprune.engine import Engine, open_engine
from raprune.engine.workload import Workload
from raprune.evaluators.base import OnEngine, PoolAddress
from raprune.registry import EVALUATORS
from raprune.study.parts import EvaluatorsSpec

_ENGINES: dict[tuple[str, str], Engine] = {}
"""Engines of this process by workload and device: trials that follow one another share what is loaded."""


@EVALUATORS.register("in_process", EvaluatorsSpec)
class InProcess(OnEngine):
    """One engine in this process; no Ray."""

    def __init__(self, settings: EvaluatorsSpec, workload: Workload, pool: PoolAddress | None = None) -> None:
        del pool
        device = local_device(settings.device)
        key = (workload.key, device)
        if key not in _ENGINES:
            _ENGINES.clear()
            _ENGINES[key] = open_engine(workload, device, settings)
        super().__init__(_ENGINES[key], "in-process")


def forget_engines() -> None:
    """Let go of all engines, and with them of their data."""
    _ENGINES.clear()


def local_device(wanted: str) -> str:
    """The device of this process for ``auto``: a GPU, else Apple's, else the processor."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
