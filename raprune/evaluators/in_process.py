"""Scores in the calling process: the serial twin of every parallel evaluator, and the one to debug with."""

from __future__ import annotations

from raprune.engine.workload import Workload
from raprune.evaluators.base import OnEngine
from raprune.evaluators.engines import Engines
from raprune.registry import EVALUATORS
from raprune.study.parts import EvaluatorsSpec


@EVALUATORS.register("in_process", EvaluatorsSpec)
class InProcess(OnEngine):
    """An engine of this process; no Ray."""

    def __init__(self, settings: EvaluatorsSpec, workload: Workload, engines: Engines) -> None:
        del settings
        super().__init__(engines.of(workload), "in-process")


def local_device(wanted: str) -> str:
    """The device that this process uses: ``wanted``, or for ``auto`` a GPU, else Apple's, else the processor."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
