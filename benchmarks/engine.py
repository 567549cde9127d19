"""What the exact engine saves on recorded candidates: ``python benchmarks/engine.py [--results DIR] [ROW ...]``.

Rows: ``rate`` (1), ``alone`` (2), ``recorded`` (3 and 4), ``peer`` (5), ``finetune`` (6), ``savings``. First record a
trial: ``raprune study benchmarks/recorded_trial.yaml --out results/recorded_trial`` (real CIFAR-10 images and a trained
VGG-16, found through RAPRUNE_DATA). Both sides run in one process, one after the other, layer by layer. The naive
engine's time does not depend on the mask, so it is measured on ``--naive`` candidates per layer (median) and counted
for all of them; each layer runs in the better of its two memory layouts.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.recorded import Layer, Recorded, load
from raprune.engine import ExactEngine, NaiveEngine, open_engine
from raprune.network.masks import KeepMask
from raprune.network.measure import count_macs
from raprune.network.state import State
from raprune.plugins.scores.base import score_batches
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec, FinetuneLength

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def timed(call: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call(*args)
    return time.perf_counter() - start, found


class Bench:
    def __init__(self, recorded: Recorded, num_naive: int) -> None:
        self.recorded = recorded
        self.num_naive = num_naive
        self.exact = ExactEngine(recorded.workload)
        self.naive = {name: NaiveEngine(recorded.workload, memory_format=f) for name, f in FORMATS.items()}
        self.num_images = len(self.exact.splits.val)
        self.alone_s: float | None = None

    def naive_s(self, layer: Layer, state: State) -> tuple[float, str]:
        """Seconds a candidate in the better layout, and which that is."""
        masks = layer.masks[: self.num_naive]
        found = {
            name: statistics.median(timed(e.evaluate, state, layer.layer, m, None)[0] for m in masks)
            for name, e in self.naive.items()
        }
        best = min(found, key=lambda name: found[name])
        return found[best], best

    def exact_s(self, layer: Layer, state: State, lowest: float | None) -> tuple[float, int]:
        """Seconds of all candidates, whatever is prepared or kept for the layer included, and images seen."""
        self.exact = ExactEngine(self.recorded.workload)
        self.exact.built(state)  # both engines have the state's network
        seconds, seen = 0.0, 0
        for mask in layer.masks:
            took, scored = timed(self.exact.evaluate, state, layer.layer, mask, lowest)
            seconds, seen = seconds + took, seen + scored.images_scored
        return seconds, seen

    def compare(self, of: Callable[[Layer], State], floors: dict[str, float | None]) -> dict[str, float]:
        """Prints a line a layer; total seconds of each side."""
        total: dict[str, float] = dict.fromkeys(["naive", *floors], 0.0)
        print(
            f"{'layer':14s}{'naive s':>9s}{'layout':>15s}"
            + "".join(f"{n + ' s':>13s}{'x':>6s}{'images':>8s}" for n in floors)
        )
        for layer in self.recorded.layers:
            state, number = of(layer), len(layer.masks)
            naive, layout = self.naive_s(layer, state)
            total["naive"] += naive * number
            line = f"{layer.layer:14s}{naive * number:9.1f}{layout:>15s}"
            for name, lowest in floors.items():
                seconds, seen = self.exact_s(layer, state, lowest)
                total[name] += seconds
                line += f"{seconds:13.2f}{naive * number / seconds:6.1f}{seen / number:8.0f}"
            print(line, flush=True)
        print(f"{'all':14s}{total['naive']:9.1f}", *(f"{name}: {total['naive'] / total[name]:.2f}x" for name in floors))
        return total

    def baseline(self, layer: Layer) -> State:
        del layer
        return State.baseline(self.recorded.workload.baseline_key)

    def alone(self) -> None:
        """Each layer alone in the untouched network."""
        self.alone_s = self.compare(self.baseline, {"floor off": None})["floor off"]

    def as_recorded(self) -> None:
        """Low to high, every layer in the state that the trial had then."""
        self.compare(lambda layer: layer.state, {"floor off": None, "floor -1": self.recorded.lowest})

    def rate(self) -> None:
        """Multiply-adds a second of the suffixes as a direct convolution counts them, against the best convolution."""
        best = 0.0
        with torch.inference_mode():
            for channels, size in ((64, 32), (128, 16), (256, 8), (512, 4), (512, 2)):
                x = torch.randn(100, channels, size, size).contiguous(memory_format=torch.channels_last)
                w = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
                seconds = min(timed(F.conv2d, x, w, None, 1, 1)[0] for _ in range(9))
                found = 100 * channels**2 * 9 * size**2 / seconds
                best = max(best, found)
                print(f"direct {channels}x{channels} 3x3 at {size}x{size}: {found / 1e9:.1f} G multiply-adds/s")
        macs = seconds = 0.0
        for layer in self.recorded.layers[:-1]:
            for mask in layer.masks[:3]:
                state = self.baseline(layer)
                self.exact.evaluate(state, layer.layer, mask, None)  # the prefix, and what is prepared, once
                took, _ = timed(self.exact.evaluate, state, layer.layer, mask, None)
                macs += self.num_images * self._suffix_macs(layer, mask)
                seconds += took
        print(f"scoring: {macs / seconds / 1e9:.1f} G multiply-adds/s, {macs / seconds / best:.0%} of the best")

    def _suffix_macs(self, layer: Layer, mask: KeepMask) -> int:
        cut = self.exact.build(self.baseline(layer).cut(self.exact.graph, layer.layer, mask))
        names = [name for name, module in cut.named_modules() if isinstance(module, torch.nn.Conv2d)]
        shape = self.exact.splits.input_shape
        whole, total = count_macs(cut, shape), 0
        for name in names[: names.index(layer.layer) + 1]:
            conv, sizes = cut.get_submodule(name), []
            hook = conv.register_forward_hook(lambda m, i, o, s=sizes: s.append(o[0].numel() * m.weight[0].numel()))
            with torch.no_grad():
                cut(torch.zeros(1, *shape))
            hook.remove()
            total += sizes[0]
        return whole - total

    def peer(self) -> None:
        """Torch-Pruning, as its users score a mask: deep copy, prune, forward."""
        import torch_pruning

        network = self.exact.build(self.baseline(self.recorded.layers[0]))
        shape = (1, *self.exact.splits.input_shape)
        naive = self.naive["channels_last"]

        def score(layer: str, mask: KeepMask) -> float:
            small = copy.deepcopy(network)
            graph = torch_pruning.DependencyGraph().build_dependency(small, example_inputs=torch.randn(shape))
            conv = small.get_submodule(layer)
            graph.get_pruning_group(
                conv, torch_pruning.prune_conv_out_channels, (~mask.tensor).nonzero()[:, 0].tolist()
            ).prune()
            with torch.inference_mode():
                return naive._scored(small, naive.splits.val).highest

        if self.alone_s is None:
            self.alone()
        theirs, ours = 0.0, self.alone_s or 0.0
        for layer in self.recorded.layers:
            masks = layer.masks[: self.num_naive]
            seconds = statistics.median(timed(score, layer.layer, m)[0] for m in masks)
            theirs += seconds * len(layer.masks)
            print(f"{layer.layer:14s} Torch-Pruning {seconds:.2f} s a candidate", flush=True)
        print(f"Torch-Pruning {theirs:.1f} s, exact {ours:.1f} s: {theirs / ours:.2f}x")

    def finetune(self) -> None:
        """20 steps before each reward, three layers, both engines, and the suffix-only fidelity on the exact one."""
        finetune = self.recorded.workload.finetune.model_copy(update={"before_reward": FinetuneLength(steps=20)})
        workload = replace(self.recorded.workload, finetune=finetune)
        exact, naive = ExactEngine(workload), NaiveEngine(workload)
        suffix = open_engine(
            replace(workload, fidelity=FidelitySpec(finetune="suffix")), "cpu", EvaluatorsSpec(device="cpu")
        )
        total = [0.0, 0.0, 0.0]
        for layer in self.recorded.layers[1::5]:
            masks, number = layer.masks, len(layer.masks)
            took = [timed(engine.evaluate, layer.state, layer.layer, masks[5], None)[0] for engine in (naive, exact)]
            first, second = (timed(suffix.evaluate, layer.state, layer.layer, m, None)[0] for m in masks[4:6])
            took = [number * took[0], number * took[1], first + (number - 1) * second]
            total = [a + b for a, b in zip(total, took, strict=True)]
            print(f"{layer.layer:14s} {number} candidates: naive {took[0]:.0f} s, exact {took[1]:.0f} s, suffix only "
                  f"{took[2]:.0f} s ({first:.1f} s the first, {second:.1f} s the next)", flush=True)  # fmt: skip
        print(f"naive / exact {total[0] / total[1]:.2f}x, naive / suffix only {total[0] / total[2]:.2f}x")

    def savings(self) -> None:
        """Each saving on top of those before it, one candidate each of four layers as recorded."""
        total = dict.fromkeys(["naive", "smaller tensors", "fast convolutions", "prefix kept", "early exit"], 0.0)
        naive = self.naive["channels_last"]
        for layer in self.recorded.layers[::4]:
            state, name, mask = layer.state, layer.layer, layer.masks[len(layer.masks) // 2]
            cut = state.cut(self.exact.graph, name, mask)
            self.exact.evaluate(state, name, mask, None)
            with torch.inference_mode():
                network, whole = self.exact.build(cut), self.exact._whole(self.exact.splits.val)
                plain = partial(naive._scored, network, naive.splits.val)
                fast = partial(score_batches, naive.score, self.exact._whole_network(network, 0), whole)
                calls = [
                    partial(naive.evaluate, state, name, mask, None),
                    plain,
                    fast,
                    partial(self.exact.evaluate, state, name, mask, None),
                    partial(self.exact.evaluate, state, name, mask, self.recorded.lowest),
                ]
                for step, call in zip(total, calls, strict=True):
                    total[step] += timed(call)[0]
        for step, seconds in total.items():
            print(f"{step:20s}{seconds:8.2f} s  {total['naive'] / seconds:6.2f}x")


ROWS = {
    "rate": Bench.rate, "alone": Bench.alone, "recorded": Bench.as_recorded, "peer": Bench.peer,
    "finetune": Bench.finetune, "savings": Bench.savings,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], default=[])
    parser.add_argument("--results", type=Path, default=Path("results/recorded_trial"))
    parser.add_argument("--masks", type=int, default=20, help="candidates a layer")
    parser.add_argument("--naive", type=int, default=2, help="of them, those that naive and peer are timed on")
    given = parser.parse_args()
    rows = given.rows or list(ROWS)
    recorded = load(given.results, given.masks, states=not set(rows) <= {"rate", "alone", "peer"})
    bench = Bench(recorded, given.naive)
    for row in rows:
        print(f"\n== {row} ({torch.get_num_threads()} thread(s))", flush=True)
        ROWS[row](bench)


if __name__ == "__main__":
    main()
