"""The exact engine with several masks per launch, for accelerators that one candidate of a small network leaves idle.

On a GPU the launches cost the time, not the multiplications that smaller tensors would save. Results differ from the
compact candidate's by float rounding only. Never used on a processor, where each mask runs on its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from raprune.engine.exact import ExactEngine
from raprune.engine.launches import MASKS_A_LAUNCH
from raprune.engine.split import Halves
from raprune.engine.stacking import num_slots, stacked
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally, added, fetched


class StackedEngine(ExactEngine):
    """Stacks masks where possible, even for a request of a single mask; otherwise works as the exact engine."""

    slots = MASKS_A_LAUNCH
    launches = 0
    """Launches of several masks so far."""

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        return self.evaluate_many(state, layer, [mask], lowest, [start])[0]

    def evaluate_many(
        self, state: State, layer: str, masks: Sequence[KeepMask], lowest: float | None, starts: Sequence[Tally | None]
    ) -> list[Scored]:
        """As the contract says; what is computed for a mask does not depend on the others."""
        halves = None if self._reward_steps() or state.factors else self._halves(state, layer)
        slots = 1 if halves is None else self._num_slots(state, halves)
        if halves is None or slots == 1:
            return [super(StackedEngine, self).evaluate(state, layer, *args) for args in _each(masks, lowest, starts)]
        began = time.perf_counter()
        with torch.inference_mode():
            tallies = self._tallies(halves, self.prefix_key(state, layer), masks, lowest, starts, slots)
        seconds = (time.perf_counter() - began) / len(masks)
        seen = [0 if start is None else start.num_images for start in starts]
        return [
            Scored(tally.score(lowest), tally.num_images - first, seconds, tally)
            for tally, first in zip(tallies, seen, strict=True)
        ]

    def _num_slots(self, state: State, halves: Halves) -> int:
        programs, name = self.built(state).programs, f"slots {halves.layer}"
        if name not in programs:
            with torch.inference_mode():
                image = self.as_input(self.splits.val.at(slice(1)))
                programs[name] = num_slots(halves, image, self.workload.scoring.batch_size)
        slots: int = programs[name]
        return slots

    def _tallies(
        self, halves: Halves, key: str, masks: Sequence[KeepMask], lowest: float | None, starts: Sequence[Tally | None],
        slots: int,
    ) -> list[Tally]:  # fmt: skip
        """Resume each mask where its tally stopped, batch by batch, until it is decided."""
        tallies, whole = list(starts), self._whole(self.splits.val)
        size = self.workload.scoring.batch_size
        for index, some in self._val_batches(0):
            seen = [0 if tally is None else tally.num_images for tally in tallies]
            open_ones = [m for m, tally in enumerate(tallies) if tally is None or not tally.decides(lowest)]
            due = [m for m in open_ones if seen[m] == index * size]
            if not due:
                continue
            values, labels = self._crossing(halves.prefix, key, index, some), self.splits.val.labels_B[some]
            total = self.score.whole(labels).cpu()
            for part in _parts(due, slots):
                self.launches += 1
                outputs = stacked(halves, [masks[m].tensor for m in part], slots)(values)
                counts = fetched([self.score.counts(logits, labels) for logits in outputs])
                for m, counts_of in zip(part, counts, strict=True):
                    tallies[m] = added(self.score, tallies[m], counts_of, total, len(labels), whole)
        return [tally for tally in tallies if tally is not None]


def _each(
    masks: Sequence[KeepMask], lowest: float | None, starts: Sequence[Tally | None]
) -> Iterator[tuple[KeepMask, float | None, Tally | None]]:
    for mask, start in zip(masks, starts, strict=True):
        yield mask, lowest, start


def _parts(masks: list[int], slots: int) -> Iterator[list[int]]:
    for start in range(0, len(masks), slots):
        yield masks[start : start + slots]
