"""Scores in the process that asks: the serial twin of every parallel evaluator, and the one to debug with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from raprune.engine.launches import Purpose
from raprune.engine.workload import Workload
from raprune.evaluators.base import EvaluatedMask
from raprune.evaluators.engines import Engines
from raprune.network.lowrank.factor import Factor
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.registry import EVALUATORS
from raprune.study.parts import EvaluatorsSpec


@EVALUATORS.register("in_process", EvaluatorsSpec)
class InProcess:
    """An engine of this process; no Ray."""

    name = "in-process"

    def __init__(self, settings: EvaluatorsSpec, workload: Workload, engines: Engines) -> None:
        del settings
        self.engine = engines.of(workload)

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[Tensor],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        found = self.engine.evaluate_many(state, layer, masks, lowest, starts or [None] * len(masks))
        return [EvaluatedMask(scored, self.name) for scored in found]

    def candidate(self, state: State, layer: str, mask: Tensor) -> State:
        return self.engine.candidate(state, layer, mask)

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        return self.engine.finetune(state, purpose, seeded_by)

    def energies(self, state: State, layer: str, scheme: str, num_images: int) -> list[float]:
        return self.engine.energies(state, layer, scheme, num_images)

    def factorise(self, state: State, layer: str, factor: Factor, num_images: int) -> State:
        return self.engine.factorise(state, layer, factor, num_images)

    def measure(self, state: State, split: str) -> float:
        return self.engine.measure(state, split)

    def pictures(self, state: State) -> list[dict[str, Any]]:
        return self.engine.pictures(state)

    def describe(self) -> list[dict[str, object]]:
        return [{"name": self.name, **self.engine.describe()}]


def local_device(wanted: str) -> str:
    """The device of this process for ``auto``: a GPU, else Apple's, else the processor."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
