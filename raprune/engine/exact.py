"""The fast engine: it changes no reward and computes nothing twice.

Candidates run on physically smaller tensors. Without a fine-tune before the reward, everything below the layer being
decided is computed once per state. Scoring stops when the remaining images cannot change the reward; images with the
smallest baseline margins come first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, fx, nn

from raprune.engine.agreement import check_agreement, example
from raprune.engine.base import Engine, Forward
from raprune.engine.cache.prefix import LocalStore, Store
from raprune.engine.inputs import Inputs
from raprune.engine.kernels.program import Program, compile_module
from raprune.engine.split import Crossing, Halves, split
from raprune.engine.workload import Workload
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.plugins.scores.base import Scored, Tally, score_batches

Batches = Iterator[tuple[Callable[[], Tensor], Tensor]]


class ExactEngine(Engine):
    """Prefix cache, compact candidates, fused and fast convolutions, early exit; compared with the plain network."""

    slots = 1
    """Masks per launch."""

    def __init__(
        self,
        workload: Workload,
        device: str = "cpu",
        cache_gib: float = 2.0,
        store: Store | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(workload, device, inputs)
        self.store: Store = LocalStore(int(cache_gib * 2**30)) if store is None else store
        check_agreement(self.traced, example(self.splits, self.traced.network), self.slots)
        self._order = workload.load_val_order(len(self.splits.val)).to(self.device)

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        began = time.perf_counter()
        first = 0 if start is None else start.num_images
        batches = self._candidate(state, layer, mask, first)
        with torch.inference_mode():
            tally = self._tally(state, batches, lowest, start)
        return Scored(tally.score(lowest), tally.num_images - first, time.perf_counter() - began, tally)

    def _tally(self, state: State, batches: Batches, lowest: float | None, start: Tally | None) -> Tally:
        """``start`` plus a candidate's ``batches``, until the tally decides ``lowest``; ``state`` is its parent."""
        del state
        return score_batches(self.score, batches, self._whole(self.splits.val), lowest, start)

    def _candidate(self, state: State, layer: str, mask: KeepMask, first: int) -> Batches:
        """The candidate's logits for val's images, after the fine-tune before the reward."""
        num_steps = self._reward_steps()
        if num_steps == 0 and (halves := self._halves(state, layer)) is not None:
            return self._suffix(halves, self.prefix_key(state, layer), mask, first)
        network = self.scratch(state.cut(self.graph, layer, mask))
        if num_steps:
            self._train(network, num_steps, state.version, "reward")
        return self._whole_network(network, first)

    def _reward_steps(self) -> int:
        return self._num_steps(self.workload.finetune.before_reward)

    def _halves(self, state: State, layer: str) -> Halves | None:
        """The network cut in two at ``layer``; ``None`` where it cannot be, so that candidates run as a whole."""
        if layer == ALL_LAYERS:
            return None
        built = self.built(state)
        if layer not in built.programs:
            with torch.inference_mode():
                built.programs[layer] = split(built.network, self.graph, layer, state.keep_masks(), built.convs)
        halves: Halves | None = built.programs[layer]
        return halves

    def _suffix(self, halves: Halves, key: str, mask: KeepMask, first: int) -> Batches:
        """Logits of the part above the layer, from the crossing values that all candidates share."""
        logits = halves.candidate(mask.tensor)
        for index, some in self._val_batches(first):
            values = self._crossing(halves.prefix, key, index, some)
            yield partial(logits, values), self.splits.val.labels_B[some]

    def prefix_key(self, state: State, layer: str) -> str:
        """The key under which the crossing values of a layer are kept."""
        return f"{self.workload.key}-{state.version}-{layer}"

    def _crossing(self, prefix: Program, key: str, index: int, some: Tensor) -> Crossing:
        """The crossing values of a batch of val, kept or computed."""

        def compute() -> Crossing:
            below: Crossing = prefix(self.as_input(self.splits.val.at(some)))
            return below

        return self.store.batch(key, index, compute)

    def _whole_network(self, network: nn.Module, first: int) -> Batches:
        """Logits of a network that was built for this candidate alone."""
        assert isinstance(network, fx.GraphModule)
        forward: Forward = compile_module(network)
        for _, some in self._val_batches(first):
            images = self.as_input(self.splits.val.at(some))
            yield partial(forward, images), self.splits.val.labels_B[some]

    def _val_batches(self, first: int) -> Iterator[tuple[int, Tensor]]:
        """Number and images of each batch of val, starting at place ``first`` of the order."""
        size = self.workload.scoring.batch_size
        for start in range(first, len(self._order), size):
            yield start // size, self._order[start : start + size]
