"""Scores all masks of a layer: many masks behind one another in a batch, masked where the next layers read them.

What a mask scores is what raprune's engine would give it, which :meth:`Scorer.differing` checks on a sample. A mask is
given up as soon as the remaining images cannot lift it to the deepest drop that the table records; images of which the
baseline is least sure come first.

Legend: K masks, N filters, C channels, B images.
"""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmarks.optimum.tables import masks_of
from raprune.engine import Engine, open_engine
from raprune.engine.batches import train_batches
from raprune.engine.split import split
from raprune.engine.suffix import above
from raprune.engine.workload import Workload
from raprune.network.graph import present
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.study.parts import EvaluatorsSpec
from raprune.study.seeds import seed_for

FIRST_IMAGES = 60
"""Enough to give most hopeless masks up."""
SLOTS = {"cpu": 16, "cuda": 512}
"""Masks in one batch."""
CHUNK = 2048
"""Rows that a worker scores at a time."""


class SlotNorm(nn.Module):
    """A batch norm with statistics of its own for each of K masks."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm
        self.begin()

    def begin(self) -> None:
        """Forget the statistics; those of the next batches are averaged."""
        self.collecting, self.number = True, 0
        self.mean_KC, self.var_KC = torch.zeros(()), torch.zeros(())

    def use(self, chosen_K: Tensor) -> None:
        """Norm by the averages, of the chosen masks alone."""
        self.collecting, self.chosen = False, chosen_K

    def forward(self, x: Tensor) -> Tensor:
        """(K * B, C, H, W) to the same shape, where K is the number of masks."""
        slots = self.slots if self.collecting else len(self.chosen)
        x_KBCS = x.view(slots, -1, x.shape[1], x.shape[2] * x.shape[3])
        if self.collecting:
            mean_KC, var_KC = x_KBCS.mean((1, 3)), x_KBCS.var((1, 3), correction=0)
            size = x_KBCS.shape[1] * x_KBCS.shape[3]
            self.number += 1
            self.mean_KC = self.mean_KC + (mean_KC - self.mean_KC) / self.number
            self.var_KC = self.var_KC + (var_KC * size / (size - 1) - self.var_KC) / self.number
        else:
            mean_KC, var_KC = self.mean_KC[self.chosen], self.var_KC[self.chosen]
        scale_KC = self.norm.weight / (var_KC + self.norm.eps).sqrt()
        shift_KC = self.norm.bias - mean_KC * scale_KC
        return (x_KBCS * scale_KC[:, None, :, None] + shift_KC[:, None, :, None]).view(x.shape)

    slots: int = 1
    """K, while statistics are collected."""


class Scorer:
    """Counts the correct images of masks of one layer."""

    def __init__(self, workload: Workload, layer: str, device: str, deepest: float) -> None:
        self.engine: Engine = open_engine(workload, device, EvaluatorsSpec(device=device))
        self.layer, self.state = layer, State.baseline(workload.baseline_key)
        engine, network = self.engine, self.engine.built(self.state).network
        self.slots = SLOTS[engine.device.type]
        with torch.inference_mode():
            halves = split(network, engine.graph, layer, {})
            assert halves is not None
            self.prefix, self.suffix = halves.prefix, halves.suffix
            self.owners = [None if ids is None else self._owners(halves.kept, ids) for ids in halves.crossing]
            self.batches = list(self._val_batches(workload))
        self.norms: list[SlotNorm] = []
        self.recalibration: list[Any] = []
        if workload.fidelity.recalibrates:
            self._prepare_recalibration(workload, network)
        self.num_images = len(engine.splits.val)
        self.least = 0
        whole = torch.ones(1, self.num_filters, dtype=torch.bool)
        self.num_correct = int(self.correct(whole)[0])
        """Of the baseline."""
        self.least = max(1, self.num_correct - int(deepest * self.num_images / 100 + 1e-9))

    @property
    def num_filters(self) -> int:
        return int(self.engine.graph.group(self.layer).num_filters)

    def _owners(self, kept: Callable[[Tensor], Any], ids: Any) -> Tensor:
        """(N, C): 1 where a channel goes with a filter."""
        rows = [torch.from_numpy(~present(ids, kept(mask))) for mask in ~torch.eye(self.num_filters, dtype=torch.bool)]
        return torch.stack(rows).float().to(self.engine.device)

    def _val_batches(self, workload: Workload) -> Iterator[tuple[Any, Tensor]]:
        val, size = self.engine.splits.val, workload.scoring.batch_size
        order = workload.load_val_order(len(val)).to(self.engine.device)
        for some in (order[:FIRST_IMAGES], *order[FIRST_IMAGES:].split(size)):
            yield self.prefix(self.engine.as_input(val.images_BCHW[some])), val.labels_B[some]

    def _prepare_recalibration(self, workload: Workload, network: fx.GraphModule) -> None:
        """As the engine recalibrates: the same training batches, their statistics averaged."""
        network = copy.deepcopy(network)
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                network.set_submodule(name, SlotNorm(module))
        self.suffix = above(network, self.engine.graph, self.layer)  # type: ignore[assignment]
        self.norms = [module for module in self.suffix.modules() if isinstance(module, SlotNorm)]  # type: ignore[union-attr]
        seed = seed_for(workload.data_seed, self.state.version, "reward")
        dtype = next(network.parameters()).dtype
        number, size = workload.fidelity.recalibration_batches, workload.recipe.batch_size
        with torch.inference_mode():
            self.recalibration = [
                self.prefix(images) for images, _ in train_batches(self.engine.splits, size, number, seed, dtype)
            ]

    @torch.inference_mode()
    def correct(self, masks_KN: Tensor) -> Tensor:
        """(K,) int64: correct images of each mask; 0 where they are fewer than ``least``."""
        pruned_KN = (~masks_KN).float().to(self.engine.device)
        keeps = [None if owners is None else (pruned_KN @ owners == 0).float() for owners in self.owners]
        for norm in self.norms:
            norm.begin()
            norm.slots = len(masks_KN)
        for values in self.recalibration:
            self.suffix(*_stacked(values, keeps, len(masks_KN)))
        correct = torch.zeros(len(masks_KN), dtype=torch.int64, device=self.engine.device)
        alive, left = torch.arange(len(correct), device=self.engine.device), self.num_images
        for values, labels_B in self.batches:
            for norm in self.norms:
                norm.use(alive)
            some = [None if keep is None else keep[alive] for keep in keeps]
            logits = self.suffix(*_stacked(values, some, len(alive)))
            correct[alive] += (logits.argmax(1).view(len(alive), -1) == labels_B).sum(1)
            left -= len(labels_B)
            alive = alive[correct[alive] + left >= self.least]
            if not len(alive):
                break
        return torch.where(correct >= self.least, correct, 0).cpu()

    def rows(self, rows: range) -> Tensor:
        """Counts of a range of a table's rows; a row that keeps nothing is 0."""
        found = [
            self.correct(masks_of(torch.arange(start, min(start + self.slots, rows.stop)), self.num_filters))
            for start in range(rows.start, rows.stop, self.slots)
        ]
        counts = torch.cat(found)
        if rows.start == 0:
            counts[0] = 0
        return counts

    def differing(self, rows: Sequence[int], counts: Sequence[int]) -> int:
        """How many of some rows the engine, one mask at a time, scores otherwise than ``counts``."""
        number = 0
        for row, count in zip(rows, counts, strict=True):
            mask = KeepMask.of(masks_of(torch.tensor([row]), self.num_filters)[0])
            score = self.engine.evaluate(self.state, self.layer, mask, None).score
            found = round((score or 0.0) * self.num_images / 100)
            number += (found if found >= self.least else 0) != count
        return number


def _stacked(values: Any, keeps: Sequence[Tensor | None], number: int) -> list[Any]:
    """Crossing values of B images to those of K * B, the channels of pruned filters zeroed."""
    return [_repeated(value, keep, number) for value, keep in zip(values, keeps, strict=True)]


def _repeated(value: Any, keep_KC: Tensor | None, number: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    if keep_KC is None:
        return value.repeat(number, *[1] * (value.dim() - 1)).contiguous(memory_format=torch.channels_last)
    masked = value[None] * keep_KC.view(number, 1, -1, *[1] * (value.dim() - 2))
    return masked.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def all_counts(scorer: Scorer, make: Callable[[], Scorer], workers: int) -> Tensor:
    """(2^N,) counts of all masks, in this process or in several that each ``make`` a scorer."""
    number = 2**scorer.num_filters
    chunks = [range(start, min(start + CHUNK, number)) for start in range(0, number, CHUNK)]
    if workers == 1:
        return torch.cat([scorer.rows(rows) for rows in chunks])
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _open, (make,)) as pool:
        return torch.cat(list(pool.map(_rows, chunks)))


_OPEN: list[Scorer] = []


def _open(make: Callable[[], Scorer]) -> None:
    torch.set_num_threads(1)
    _OPEN.append(make())


def _rows(rows: range) -> Tensor:
    return _OPEN[0].rows(rows)
