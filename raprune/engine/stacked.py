"""Several masks in one launch, for accelerators that a single candidate of a small network leaves idle.

The candidates of a launch run masked, one behind the other in the batch, through the part above the decided layer. On a
GPU the time is in the launches, not in the multiplications that smaller tensors would save. Departs from the compact
candidate by float rounding only; never used on a processor, whose results are bitwise those of one mask at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from raprune.engine.exact import ExactEngine
from raprune.engine.split import Crossing, Halves, nbytes
from raprune.graph import present
from raprune.masks import check_keep_mask
from raprune.scoring import Scored, Tally, advance
from raprune.state import State

MAX_BYTES = 2**30
"""Of what goes into one launch."""


class StackedEngine(ExactEngine):
    """The exact engine with as many masks a launch as fit."""

    launches = 0
    """Launches of several masks so far."""

    def evaluate_many(
        self, state: State, layer: str, masks: Sequence[Tensor], lowest: float | None, starts: Sequence[Tally | None]
    ) -> list[Scored]:
        """Scores of candidates that are seen for the first time, stacked; others, and fine-tuned ones, one by one."""
        halves = None
        if not self._reward_steps() and len(masks) > 1 and not any(starts):
            halves = self._halves(state, layer)
        if halves is None or not _reads_directly(halves):
            return super().evaluate_many(state, layer, masks, lowest, starts)
        began = time.perf_counter()
        for mask in masks:
            check_keep_mask(mask, self.graph.group(layer).num_filters)
        with torch.inference_mode():
            tallies = self._stacked(halves, self.prefix_key(state, layer), masks, lowest)
        seconds = (time.perf_counter() - began) / len(masks)
        return [Scored(tally.score(lowest), tally.num_images, seconds, tally) for tally in tallies]

    def _stacked(self, halves: Halves, key: str, masks: Sequence[Tensor], lowest: float | None) -> list[Tally]:
        tallies: list[Tally | None] = [None] * len(masks)
        whole, keep = self._whole(self.splits.val), [self._keep(halves, mask) for mask in masks]
        for index, some in self._val_batches(0):
            open_ones = [m for m, tally in enumerate(tallies) if tally is None or not tally.decides(lowest)]
            if not open_ones:
                break
            values, labels = self._crossing(halves.prefix, key, index, some), self.splits.val.labels_B[some]
            for part in _parts(open_ones, nbytes(values)):
                self.launches += 1
                logits = halves.suffix(*_stack(values, [keep[m] for m in part]))
                for m, of_mask in zip(part, logits.split(len(labels)), strict=True):
                    tallies[m] = advance(self.score, tallies[m], of_mask, labels, whole)
        return [tally for tally in tallies if tally is not None]

    def _keep(self, halves: Halves, mask: Tensor) -> list[Tensor | None]:
        """For each crossing value (C,): 1 for a channel that stays; ``None`` where all do."""
        kept = self.graph.kept({**halves.plan, halves.layer: mask})
        return [
            None if ids is None else torch.from_numpy(present(ids, kept)).to(self.device) for ids in halves.crossing
        ]


def _reads_directly(halves: Halves) -> bool:
    """Whether all that loses channels reads them where they cross: a channel that is zero there is zero to the end."""
    readers = {f"part_{name}" for name in halves.graph.group(halves.layer).consumers}
    return not halves.sites and {entry.part for entry in halves.touched} <= readers


def _parts(masks: list[int], size: int) -> Iterator[list[int]]:
    step = max(1, MAX_BYTES // max(1, size))
    for start in range(0, len(masks), step):
        yield masks[start : start + step]


def _stack(values: Crossing, keep: list[list[Tensor | None]]) -> list[object]:
    """Each value once for every mask, along the batch, with the channels that the mask prunes zero."""
    out: list[object] = []
    for place, value in enumerate(values):
        if not isinstance(value, Tensor):
            out.append(value)
            continue
        copies = []
        for of_mask in keep:
            factor = of_mask[place]
            shape = (1, -1, *[1] * (value.dim() - 2))
            copies.append(value if factor is None else value * factor.view(shape))
        out.append(torch.cat(copies))
    return out
