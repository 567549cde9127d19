"""Scores candidates and fine-tunes states on one device: the network and the data loaded once and kept.

Exact savings only: candidates run on physically smaller tensors; without a fine-tune before the reward,
everything below the layer being decided is computed once per state and kept within ``cache_gib``; scoring stops when
the rest of the images cannot change the reward, the images whose baseline margin is smallest first.
"""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from raprune.data import Split, Splits, normalise
from raprune.evaluating import Purpose
from raprune.graph import trace
from raprune.masks import check_keep_mask
from raprune.scoring import Scored, score_batches
from raprune.seeds import seed_for
from raprune.split import Halves, channels_last, nbytes, split
from raprune.state import State
from raprune.study.schema import FinetuneLength
from raprune.surgery import load_tensors
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
        network = workload.load_network(self.splits.num_classes, self.splits.input_shape)
        self.graph = trace(network, self.splits.input_shape)
        self.weights = {name: t.clone() for name, t in network.state_dict().items()}
        self.skeleton = channels_last(network.to(self.device))
        self.splits = replace(self.splits, val=self._fragile_first())
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
        network = copy.deepcopy(self.skeleton)
        return channels_last(load_tensors(network, state.tensors(self.graph, self.weights))).eval()

    def evaluate(self, state: State, layer: str, mask: Tensor, lowest: float | None) -> Scored:
        """Score ``state`` with ``layer`` cut to ``mask`` on val, after the fine-tune that the study asks for.

        The result depends on its arguments, the workload and the device type alone. ``score`` is ``None`` exactly
        where it is below ``lowest`` (percent).
        """
        start = time.perf_counter()
        check_keep_mask(mask, self.graph.group(layer).num_filters)
        if self._num_steps(self.workload.finetune.before_reward):
            candidate = self.finetune(state.cut(self.graph, layer, mask), "reward", state.version)
            network = self.build(candidate)
            with torch.inference_mode():
                score, seen = self._score(lambda images: network(images), self.splits.val, lowest)
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

    def _num_steps(self, length: FinetuneLength) -> int:
        batch = self.workload.finetune.batch_size
        return length.num_steps(steps_per_epoch(len(self.splits.train), batch))

    def _images(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Network input and labels, batch by batch."""
        size = self.workload.scoring.batch_size
        dtype = next(self.skeleton.parameters()).dtype
        for start in range(0, len(split), size):
            images = normalise(split.images_BCHW[start : start + size], self.splits, dtype)
            yield images.contiguous(memory_format=torch.channels_last), split.labels_B[start : start + size]

    def _score(
        self, forward: Callable[[Tensor], Tensor], split: Split, lowest: float | None
    ) -> tuple[float | None, int]:
        batches = ((lambda x=images: forward(x), labels) for images, labels in self._images(split))
        return score_batches(self.score, batches, self.score.whole(split.labels_B).cpu(), lowest)

    def _score_suffix(self, state: State, layer: str, mask: Tensor, lowest: float | None) -> tuple[float | None, int]:
        halves, crossing = self._prefix(state, layer)
        batches = ((lambda v=values: halves.logits(v, mask), labels) for values, labels in crossing)
        return score_batches(self.score, batches, self.score.whole(self.splits.val.labels_B).cpu(), lowest)

    def _prefix(self, state: State, layer: str) -> tuple[Halves, Iterator[tuple[tuple[Tensor, ...], Tensor]]]:
        """The halves at ``layer`` and what crosses between them for every batch of val, kept or computed anew."""

        def compute(halves: Halves) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
            return ((halves.prefix(images), labels) for images, labels in self._images(self.splits.val))

        key = (state.version, layer)
        halves = self._prefixes.halves(key, lambda: split(self.network(state), self.graph.group(layer)))
        return halves, self._prefixes.batches(key, lambda: compute(halves), len(self.splits.val))

    def describe(self) -> dict[str, object]:
        """What is loaded, and how large it is."""
        held = [
            *self.skeleton.state_dict().values(),
            self.splits.train.images_BCHW,
            self.splits.val.images_BCHW,
        ]
        size = sum(t.numel() * t.element_size() for t in held)
        return {"baseline": self.workload.baseline_key, "device": device_name(self.device), "bytes": size}

    @torch.no_grad()
    def _fragile_first(self) -> Split:
        """Val in the order of the baseline's margins, smallest first: the images that decide an early exit."""
        val = self.splits.val
        margins = [self.score.margins(self.skeleton(images), labels) for images, labels in self._images(val)]
        return val.take(torch.cat(margins).argsort(stable=True))


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
Batch = tuple[tuple[Tensor, ...], Tensor]


class _PrefixCache:
    """Crossing values by (state, layer), least recently used out first; what does not fit is computed every time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._halves: OrderedDict[Key, Halves] = OrderedDict()
        self._batches: OrderedDict[Key, list[Batch]] = OrderedDict()
        self._bytes: dict[Key, int] = {}

    def halves(self, key: Key, make: Callable[[], Halves]) -> Halves:
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
        first, *_ = batch = next(compute())
        size = nbytes(first) * num_images // max(1, len(batch[1]))
        if size > self.capacity:
            return compute()
        while sum(self._bytes.values()) + size > self.capacity:
            oldest, _ = self._batches.popitem(last=False)
            del self._bytes[oldest]
        self._batches[key] = list(compute())
        self._bytes[key] = size
        return iter(self._batches[key])
