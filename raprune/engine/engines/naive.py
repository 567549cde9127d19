"""The reference: plain PyTorch, the whole network of a state, masked, on every image, for every candidate.

It takes no shortcut: every faster engine must agree with it.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, fx

from raprune.engine.base import Engine, Forward
from raprune.engine.cache.prefix import Store
from raprune.engine.contract import EngineKind
from raprune.engine.inputs import Inputs
from raprune.engine.masked import mask_channels
from raprune.engine.workload import Workload
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.registry import ENGINES
from raprune.study.parts import EvaluatorsSpec


@ENGINES.register("naive")
class Naive(EngineKind):
    """Plain PyTorch, the reference: the whole network, masked, on every image, for every candidate."""

    has_fidelities = False
    gives_up = False
    reuses = False

    def open(
        self, workload: Workload, device: str, spec: EvaluatorsSpec, store: Store | None, inputs: Inputs | None
    ) -> Engine:
        del spec, store
        return NaiveEngine(workload, device, inputs=inputs)


class NaiveEngine(Engine):
    """Multiplies the channels of pruned filters by zero where they are read."""

    def __init__(
        self,
        workload: Workload,
        device: str = "cpu",
        memory_format: torch.memory_format = torch.channels_last,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(workload, device, inputs)
        self.memory_format = memory_format

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        """As the contract says; ``start`` is not used."""
        del start
        began = time.perf_counter()
        network = self.build(state)
        assert isinstance(network, fx.GraphModule)
        cuts = state.cut(self.graph, layer, mask).keep_masks()
        masked = mask_channels(network, self.graph, state.keep_masks(), cuts).to(self.device)
        num_steps = self._num_steps(self.workload.finetune.before_reward)
        if num_steps:
            self._train(masked, num_steps, state.version, "reward")
        masked.to(memory_format=self.memory_format)
        with torch.inference_mode():
            tally = self._scored(masked, self.splits.val)
        return Scored(tally.score(lowest), tally.num_images, time.perf_counter() - began, tally)

    def forward(self, state: State) -> Forward:
        forward: Forward = self.built(state).network
        return forward

    def as_input(self, images_BCHW: Tensor) -> Tensor:
        return super().as_input(images_BCHW).contiguous(memory_format=self.memory_format)
