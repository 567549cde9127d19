"""Scoring after a fine-tune of several candidates together (:mod:`raprune.engine.weight_stack`).

A stack always holds the same number of slots; those without a mask of their own repeat the last one. So the result for
a mask depends on no other mask of the request, nor on the size of the pool.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx

from raprune.engine.approximate import ApproximateEngine
from raprune.engine.batches import train_batches
from raprune.engine.cache.prefix import Store
from raprune.engine.exact import Batches
from raprune.engine.inputs import Inputs
from raprune.engine.train import train_on
from raprune.engine.weight_stack import check_stack, stack_of, summed
from raprune.engine.workload import Workload
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.network.surgery import cut_tensors
from raprune.plugins.scores.base import Scored, Tally


class TogetherEngine(ApproximateEngine):
    """The engine for ``fidelity: {together: S}``: S masks share a fine-tune, and each is scored as any other."""

    def __init__(
        self,
        workload: Workload,
        device: str = "cpu",
        cache_gib: float = 2.0,
        store: Store | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(workload, device, cache_gib, store, inputs)
        self._tuned: dict[KeepMask, Mapping[str, Tensor]] = {}
        """The weights of the masks that are being scored, with all filters still there."""
        if self._reward_steps():
            how = workload.recipe, self.fidelity.together
            check_stack(self.traced, self.splits, self.score.loss, *how, self._training)

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        return self.evaluate_many(state, layer, [mask], lowest, [start])[0]

    def evaluate_many(
        self, state: State, layer: str, masks: Sequence[KeepMask], lowest: float | None, starts: Sequence[Tally | None]
    ) -> list[Scored]:
        """As the contract says; what is computed for a mask does not depend on the others."""
        results: list[Scored] = []
        for first in range(0, len(masks), self.fidelity.together):
            part = slice(first, first + self.fidelity.together)
            began = time.perf_counter()
            self._tuned = self._tune(state, layer, masks[part]) if self._reward_steps() else {}
            each = (time.perf_counter() - began) / len(masks[part])
            for mask, start in zip(masks[part], starts[part], strict=True):
                scored = super().evaluate(state, layer, mask, lowest, start)
                results.append(replace(scored, seconds=scored.seconds + each))
            self._tuned = {}
        return results

    def _tune(self, state: State, layer: str, masks: Sequence[KeepMask]) -> dict[KeepMask, Mapping[str, Tensor]]:
        network, slots = self.build(state), self.fidelity.together
        assert isinstance(network, fx.GraphModule)
        groups = list(self.graph.groups.values()) if layer == ALL_LAYERS else [self.graph.group(layer)]
        filled = [masks[min(slot, len(masks) - 1)] for slot in range(slots)]
        new = [state.cut(self.graph, layer, mask).keep_masks() for mask in filled]
        stack = stack_of(network, self.graph, state.keep_masks(), new, groups)
        recipe, steps, seed = self.workload.recipe, self._reward_steps(), self._reward_seed(state)
        dtype, keep = next(network.parameters()).dtype, self._keep(seed, steps)
        batches = train_batches(self.splits, recipe.batch_size, steps, seed, dtype, keep)
        inputs = (((images,), labels) for images, labels in batches)
        with self._training():
            train_on(stack, inputs, summed(self.score.loss), recipe, steps, seed)
        return {mask: stack.tensors(slot) for slot, mask in enumerate(masks)}

    def _prepared(self, state: State, layer: str, mask: KeepMask, first: int) -> Batches:
        if mask not in self._tuned:
            return super()._prepared(state, layer, mask, first)
        cut = state.cut(self.graph, layer, mask)
        with torch.no_grad():
            tensors = cut_tensors(self.graph, self._tuned[mask], state.keep_masks(), cut.keep_masks())
        return self._whole_network(self.scratch(cut, tensors), first)
