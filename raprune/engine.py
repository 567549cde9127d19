"""Scores candidates and fine-tunes states on one device: the network and the data loaded once and kept.

Exact savings only: candidates run on physically smaller tensors; without a fine-tune before the reward,
everything below the layer being decided is computed once per state and kept within ``cache_gib``; scoring stops when
the rest of the images cannot change the reward, the images whose baseline margin is smallest first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.data import Split, Splits, normalise
from raprune.evaluating import Purpose
from raprune.masks import check_keep_mask
from raprune.pictures import Batch as PictureBatch
from raprune.pictures import choose_pictures
from raprune.scoring import Scored, score_batches
from raprune.seeds import seed_for
from raprune.split import Crossing, Halves, channels_last, nbytes, split
from raprune.state import State
from raprune.study.schema import FinetuneLength
from raprune.surgery import build
from raprune.train import steps_per_epoch, train
from raprune.workload import Workload

MAX_NETWORKS = 4
"""States whose network an engine keeps built."""


class Engine:
    """One network, one data set, one device."""

    def __init__(self, workload: Workload, device: str = "cpu", cache_gib: float = 2.0) -> None:
        self.workload = workload
        self.device = torch.device(device)
        if self.device.type == "cpu":
            torch.set_num_threads(workload.scoring.threads)
        self.score = workload.load_score()
        self.splits = _to(workload.load_data(), self.device)
        self.traced = workload.load_network(self.splits.num_classes, self.splits.input_shape)
        self.graph = self.traced.graph
        self.weights = {name: t.clone() for name, t in self.traced.network.state_dict().items()}
        channels_last(self.traced.network.to(self.device))
        self._val_order: Tensor | None = None
        self._val_order = self._fragile_first()
        self._networks: OrderedDict[str, nn.Module] = OrderedDict()
        self._prefixes = _PrefixCache(int(cache_gib * 2**30))

    def network(self, state: State) -> nn.Module:
        """The network of ``state``, physically smaller, in eval mode; kept for the next call, not to be trained."""
        if state.version in self._networks:
            self._networks.move_to_end(state.version)
        else:
            self._networks[state.version] = self.build(state)
            while len(self._networks) > MAX_NETWORKS:
                self._networks.popitem(last=False)
        return self._networks[state.version]

    def build(self, state: State) -> nn.Module:
        """A fresh network of ``state`` that the caller may train."""
        return channels_last(build(self.traced, state.keep_masks(), state.tensors(self.graph, self.weights))).eval()

    def evaluate(self, state: State, layer: str, mask: Tensor, lowest: float | None) -> Scored:
        """Score ``state`` with ``layer`` cut to ``mask`` on val, after the fine-tune that the study asks for.

        The result depends on its arguments, the workload and the device type alone. ``score`` is ``None`` exactly
        where it is below ``lowest`` (percent).
        """
        start = time.perf_counter()
        check_keep_mask(mask, self.graph.group(layer).num_filters)
        if self._num_steps(self.workload.finetune.before_reward):
            candidate = self.finetune(state.cut(self.graph, layer, mask), "reward", state.version)
            score, seen = self._score_built(candidate, lowest)
        else:
            with torch.inference_mode():
                score, seen = self._score_suffix(state, layer, mask, lowest)
        return Scored(score, seen, time.perf_counter() - start)

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        """``state`` after the fine-tune for ``purpose``: of a candidate, after a layer, or at the end.

        Its draws depend on the data seed, ``purpose`` and ``seeded_by`` (the version of a state): candidates are
        seeded by the state they were cut from, all alike (common random numbers). No steps give the same state back.
        """
        lengths = self.workload.finetune
        length = {"reward": lengths.before_reward, "commit": lengths.after_layer, "final": lengths.at_end}[purpose]
        num_steps = self._num_steps(length)
        if num_steps == 0:
            return state
        network = self.build(state)
        seed = seed_for(self.workload.data_seed, seeded_by, purpose)
        train(network, self.splits, self.score, self.workload.recipe, num_steps, seed)
        return state.trained(network.state_dict())

    @torch.inference_mode()
    def measure(self, state: State, split_name: str) -> float:
        """The score of ``state`` on a whole split, percent; the only way to the test split."""
        network = self.network(state)
        score, _ = self._score(lambda images: network(images), self.splits.split(split_name), None)
        assert score is not None
        return score

    @torch.inference_mode()
    def pictures(self, state: State) -> list[dict[str, Any]]:
        """Rows of ``pictures``: val images that ``state`` does better, alike and worse; none without labels a pixel."""
        val = self.splits.val
        if val.labels_B.dim() != 3:
            return []
        baseline, pruned = self.network(State.baseline(self.workload.baseline_key)), self.network(state)
        size = self.workload.scoring.batch_size

        def batches() -> Iterator[PictureBatch]:
            for start in range(0, len(val), size):
                raw, labels = val.images_BCHW[start : start + size], val.labels_B[start : start + size]
                x = self._input(raw)
                yield raw, labels, baseline(x), pruned(x), start

        return choose_pictures(batches(), class_names=self.splits.class_names)

    def _num_steps(self, length: FinetuneLength) -> int:
        batch = self.workload.finetune.batch_size
        return length.num_steps(steps_per_epoch(len(self.splits.train), batch))

    def _images(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Network input and labels, batch by batch."""
        size = self.workload.scoring.batch_size
        order = self._val_order if split is self.splits.val else None
        for start in range(0, len(split), size):
            some = slice(start, start + size) if order is None else order[start : start + size]
            yield self._input(split.images_BCHW[some]), split.labels_B[some]

    def _input(self, images_BCHW: Tensor) -> Tensor:
        """uint8 images as the network takes them."""
        dtype = next(self.traced.network.parameters()).dtype
        return normalise(images_BCHW, self.splits, dtype).contiguous(memory_format=torch.channels_last)

    def _score(
        self, forward: Callable[[Tensor], Tensor], split: Split, lowest: float | None
    ) -> tuple[float | None, int]:
        batches = ((lambda x=images: forward(x), labels) for images, labels in self._images(split))
        return score_batches(self.score, batches, self.score.whole(split.labels_B).cpu(), lowest)

    def _score_suffix(self, state: State, layer: str, mask: Tensor, lowest: float | None) -> tuple[float | None, int]:
        halves = self._prefixes.halves((state.version, layer), lambda: self._split(state, layer))
        if halves is None:
            return self._score_built(state.cut(self.graph, layer, mask), lowest)
        logits = halves.candidate(mask)
        crossing = self._crossing(state, layer, halves)
        batches = ((lambda v=values: logits(v), labels) for values, labels in crossing)
        return score_batches(self.score, batches, self.score.whole(self.splits.val.labels_B).cpu(), lowest)

    def _score_built(self, state: State, lowest: float | None) -> tuple[float | None, int]:
        """On val, by a network built whole for this once."""
        network = self.build(state)
        with torch.inference_mode():
            return self._score(lambda images: network(images), self.splits.val, lowest)

    def _split(self, state: State, layer: str) -> Halves | None:
        network = self.network(state)
        assert isinstance(network, fx.GraphModule)
        return split(network, self.graph, layer, state.keep_masks())

    def _crossing(self, state: State, layer: str, halves: Halves) -> Iterator[Batch]:
        """What crosses between the halves for every batch of val, kept or computed anew."""

        def compute() -> Iterator[Batch]:
            return ((halves.prefix(images), labels) for images, labels in self._images(self.splits.val))

        return self._prefixes.batches((state.version, layer), compute, len(self.splits.val))

    def describe(self) -> dict[str, object]:
        """What is loaded, and how large it is."""
        held = [
            *self.traced.network.state_dict().values(),
            self.splits.train.images_BCHW,
            self.splits.val.images_BCHW,
        ]
        size = sum(t.numel() * t.element_size() for t in held)
        return {"baseline": self.workload.baseline_key, "device": device_name(self.device), "bytes": size}

    @torch.no_grad()
    def _fragile_first(self) -> Tensor:
        """Val's images by the baseline's margins, smallest first: those that decide an early exit."""
        network = self.traced.network
        batches = self._images(self.splits.val)
        return torch.cat([self.score.margins(network(x), labels) for x, labels in batches]).argsort(stable=True)


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _to(splits: Splits, device: torch.device) -> Splits:
    """The splits resident on ``device``."""

    def move(part: Split) -> Split:
        return Split(part.images_BCHW.to(device), part.labels_B.to(device))

    test = move(splits.test) if splits.test is not None else None
    return replace(splits, train=move(splits.train), val=move(splits.val), test=test)


Key = tuple[str, str]
Batch = tuple[Crossing, Tensor]


class _PrefixCache:
    """Crossing values by (state, layer), least recently used out first; what does not fit is computed every time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._halves: OrderedDict[Key, Halves | None] = OrderedDict()
        self._batches: OrderedDict[Key, list[Batch]] = OrderedDict()
        self._bytes: dict[Key, int] = {}

    def halves(self, key: Key, make: Callable[[], Halves | None]) -> Halves | None:
        if key not in self._halves:
            self._halves[key] = make()
            while len(self._halves) > 4 * MAX_NETWORKS:
                self._halves.popitem(last=False)
        self._halves.move_to_end(key)
        return self._halves[key]

    def batches(self, key: Key, compute: Callable[[], Iterator[Batch]], num_images: int) -> Iterator[Batch]:
        if key in self._batches:
            self._batches.move_to_end(key)
            return iter(self._batches[key])
        values, labels = next(compute())
        size = nbytes(values) * num_images // max(1, len(labels))
        if size > self.capacity:
            return compute()
        while sum(self._bytes.values()) + size > self.capacity:
            oldest, _ = self._batches.popitem(last=False)
            del self._bytes[oldest]
        self._batches[key] = list(compute())
        self._bytes[key] = size
        return iter(self._batches[key])
