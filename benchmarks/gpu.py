"""What a GPU does: ``python benchmarks/gpu.py [--tests] [--write docs/gpu.md]``; needs torch, not Ray.

``--tests`` runs ``tests/gpu`` first and stops where one fails. ``--write FILE`` replaces what stands between the two
marks in FILE, otherwise it is printed. Without a GPU nothing is run or written, except with ``--device cpu``: the same
on a processor, in small, to see that it works.

VGG-16 with random weights on random 32x32 images. A candidate is a random cut of one layer, scored on all images
without early exit; whatever all candidates of a layer share was computed before. ``naive`` is the masked network in
plain PyTorch, ``Torch-Pruning`` (where it is installed) a copy of the network that it prunes, ``compact`` the exact
engine with one mask at a time, ``stacked`` the same with several masks per launch. Fine-tunes are ``launched`` one
operation after the other, ``replayed`` as a CUDA graph, or run ``together``, replayed too. All run in one process, one
after the other; times are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.marked import replaced
from raprune.engine import Engine, ExactEngine, NaiveEngine, captured, open_engine
from raprune.engine.arithmetic import check_precisions
from raprune.engine.base import device_name
from raprune.engine.stacked import StackedEngine
from raprune.errors import InputError, first_line
from raprune.network.masks import KeepMask
from raprune.network.measure import count_macs
from raprune.network.state import State
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec, FinetuneLength
from tests.tiny import engine_of, lively_vgg, own_labels

ROOT = Path(__file__).resolve().parents[1]
STATE = State.baseline("baseline")
ENDED = ": ended with an error: "
TIME_S = 270.0
"""Parts that have not begun by then are left out: with the tests, all takes less than eight minutes."""
PROCESSES = max(1, min(8, (os.cpu_count() or 1) // 2))  # the tests spend most of their time on the processor
MASKS_AN_UPDATE = 5
PAPER = {"layers": 13, "updates": 100, "masks": MASKS_AN_UPDATE, "steps": 391, "bounds": 4}
"""The paper's VGG-16, at most: updates a layer, masks an update, and steps of an epoch of CIFAR-10 at batch 128."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    width: float
    images: int
    batch: int
    masks: int = 8
    every: int = 1
    """Of the layers, every so many."""
    steps: int = 20
    """Of a fine-tune."""
    train_batch: int = 128
    precisions: tuple[str, ...] = ("full", "tf32")


LARGE = (Size(0.25, 500, 500), Size(1.0, 2000, 500))
SMALL = (Size(0.0625, 20, 20, masks=2, every=7, steps=1, train_batch=8, precisions=("full", "bfloat16")),)


def seconds(call: Callable[[], Any], device: torch.device, repeats: int = 2) -> float:
    """Median of some calls, after one that is not counted."""
    took = []
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def masks_of(engine: Engine, layer: str, number: int) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(0)
    size = engine.graph.group(layer).num_filters
    return [KeepMask.of(torch.rand(size, generator=generator) < 0.6) for _ in range(number)]


class Bench:
    """Measures one size of network on one device."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        network = lively_vgg(size.width)
        splits = own_labels(network, size.images)
        self.splits = replace(splits, train=splits.val)
        made = engine_of(network, self.splits, device=str(device), batch_size=size.batch)
        self.workload = made.workload
        self.engines: dict[str, Engine] = {
            "naive": NaiveEngine(self.workload, str(device)),
            "compact": ExactEngine(self.workload, str(device)),
            "stacked": StackedEngine(self.workload, str(device)),
        }

    def rates(self) -> Iterator[str]:
        """Images a second of the whole network, and its share of the best convolution's rate."""
        engine, size = self.engines["compact"], self.size.batch
        images = engine.as_input(engine.splits.val.images_BCHW[:size])
        forward = engine.forward(STATE)
        with torch.inference_mode():
            whole = seconds(lambda: forward(images), self.device)
            best = max(self._convolution(size, channels, side) for channels, side in ((64, 32), (128, 16), (256, 8)))
        macs = count_macs(engine.traced.network, engine.splits.input_shape) * size / whole
        yield (
            f"whole network: {size / whole:,.0f} images/s, {macs / 1e12:.3f} T multiply-adds/s, "
            f"{100 * macs / best:.0f}% of the best convolution ({best / 1e12:.2f} T)"
        )

    def _convolution(self, size: int, channels: int, side: int) -> float:
        """Multiply-adds a second of one convolution."""
        x, w = (
            torch.randn(*shape, device=self.device).contiguous(memory_format=torch.channels_last)
            for shape in ((size, channels, side, side), (channels, channels, 3, 3))
        )
        took = seconds(lambda: [F.conv2d(x, w, None, 1, 1) for _ in range(10)], self.device) / 10
        return size * channels**2 * 9 * side**2 / took

    def candidates(self) -> Iterator[str]:
        """Milliseconds a candidate, layer by layer and side by side."""
        peer = self._peer()
        names = ["naive", *(["Torch-Pruning"] if peer else []), "compact", "stacked"]
        if peer is None:
            yield "Torch-Pruning: not installed"
        yield f"{'layer':12s}" + "".join(f"{name + ' ms':>18s}" for name in names) + "   of naive"
        total, layers = dict.fromkeys(names, 0.0), list(self.engines["naive"].graph.groups)[:: self.size.every]
        for layer in layers:
            asked, took = masks_of(self.engines["naive"], layer, self.size.masks), {}
            for name, engine in self.engines.items():
                call = partial(engine.evaluate_many, STATE, layer, asked, None, [None] * len(asked))
                took[name] = seconds(call, self.device) / len(asked)
            if peer is not None:
                took["Torch-Pruning"] = seconds(partial(peer, layer, asked[0]), self.device)
            total = {name: total[name] + took[name] for name in names}
            yield self._line(layer, took, names)
        mean = {name: total[name] / len(layers) for name in names}
        yield self._line("mean", mean, names)
        yield "candidates/s: " + ", ".join(f"{name} {1 / mean[name]:,.1f}" for name in names)
        yield "images/s: " + ", ".join(f"{name} {self.size.images / mean[name]:,.0f}" for name in names)

    @staticmethod
    def _line(what: str, took: dict[str, float], names: Sequence[str]) -> str:
        ratios = ", ".join(f"{took['naive'] / took[name]:.1f}x" for name in names if name != "naive")
        return f"{what:12s}" + "".join(f"{1000 * took[name]:18.3f}" for name in names) + f"   {ratios}"

    def _peer(self) -> Callable[[str, KeepMask], float] | None:
        """Torch-Pruning, as its users score a mask: deep copy, prune, forward; ``None`` where it is not installed."""
        try:
            import torch_pruning
        except ImportError:
            return None
        naive = self.engines["naive"]
        network = naive.build(STATE)
        example = torch.randn(1, *naive.splits.input_shape, device=self.device)

        def score(layer: str, mask: KeepMask) -> float:
            small = copy.deepcopy(network)
            graph = torch_pruning.DependencyGraph().build_dependency(small, example_inputs=example)
            pruned = (~mask.tensor).nonzero()[:, 0].tolist()
            graph.get_pruning_group(small.get_submodule(layer), torch_pruning.prune_conv_out_channels, pruned).prune()
            with torch.inference_mode():
                return naive._scored(small, naive.splits.val).highest

        return score

    def finetunes(self) -> Iterator[str]:
        """The fine-tune before the reward of an update's masks, in three ways; last, the paper's study."""
        size = self.size
        steps = FinetuneLength(steps=size.steps)
        finetune = self.workload.finetune.model_copy(update={"before_reward": steps, "batch_size": size.train_batch})
        workload = replace(self.workload, finetune=finetune)
        layer, best = "features.10", float("inf")
        yield f"{MASKS_AN_UPDATE} candidates fine-tuned (steps: {size.steps}, images: {size.train_batch}) and scored:"
        for precision in size.precisions:
            took = {}
            try:
                check_precisions([precision], str(self.device))
            except InputError as error:
                yield f"{precision} precision: left out ({error})"
                continue
            for how, settings in (("launched", {}), ("replayed", {}), ("together", {"together": MASKS_AN_UPDATE})):
                fidelity = FidelitySpec.model_validate({"precision": precision, **settings})
                engine = self._engine(replace(workload, fidelity=fidelity))
                asked = masks_of(engine, layer, MASKS_AN_UPDATE)
                call = partial(engine.evaluate_many, STATE, layer, asked, None, [None] * len(asked))
                with nothing_recorded() if how == "launched" else contextlib.nullcontext():
                    took[how] = seconds(call, self.device, 1)
            if precision == "full":
                best = min(took.values())
            yield f"{precision} precision: " + ", ".join(
                f"{how} {time:.3f} s ({took['launched'] / time:.2f}x)" for how, time in took.items()
            )
        yield from paper(best / MASKS_AN_UPDATE / size.steps, size) if best < float("inf") else ()

    def _engine(self, workload: Any) -> Engine:
        return open_engine(workload, str(self.device), EvaluatorsSpec())


@contextlib.contextmanager
def nothing_recorded() -> Iterator[None]:
    """Every training step is launched operation by operation, none as a CUDA graph."""
    fewest, captured.FEWEST = captured.FEWEST, sys.maxsize
    try:
        yield
    finally:
        captured.FEWEST = fewest


def paper(step_s: float, size: Size) -> Iterator[str]:
    """What the paper's VGG-16 study would take, all four bounds, if no evaluator ever waits."""
    candidates = PAPER["layers"] * PAPER["updates"] * PAPER["masks"] * PAPER["bounds"]
    hours = candidates * PAPER["steps"] * step_s / 3600
    at_once = PAPER["masks"] * PAPER["bounds"]
    took = ", ".join(f"{hours / min(cards, at_once):,.1f} h on {cards}" for cards in (1, 8, 64))
    yield (
        f"the paper's study at width {size.width:g}: at most {candidates:,} candidates for {PAPER['bounds']} bounds, "
        f"each after {PAPER['steps']} steps"
    )
    yield f"computed from the fastest in full precision, nothing waiting, at most {at_once} candidates at once: {took}"


def measured(device: torch.device, sizes: Sequence[Size], tests: str, ends: float) -> Iterator[str]:
    """The lines of the page's measured part."""
    where = f"on one {device_name(device)} with torch {torch.__version__}, {datetime.datetime.now(datetime.UTC).date()}"
    yield f"Measured by `make gpu` {where}. {tests}".strip()
    for size in sizes:
        yield from ["", "```", f"VGG-16 width {size.width:g}, {size.images} images, batches of {size.batch}"]
        bench: Bench | None = None
        for part in ("rates", "candidates", "finetunes"):
            if time.monotonic() > ends:
                yield f"{part}: left out, the time was up"
                continue
            try:
                bench = bench or Bench(size, device)
                yield from getattr(bench, part)()
            except Exception as error:  # such as a lack of memory: what else was measured is still worth its time
                yield f"{part}{ENDED}{type(error).__name__}: {first_line(error)}"
        yield "```"


def run_tests() -> str:
    """Run the GPU's tests; returns their summary, or ends this process as they end where one fails."""
    several = ["-n", str(PROCESSES)] if importlib.util.find_spec("xdist") else []
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-p", "no:cacheprovider", *several]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    if done.returncode:
        raise SystemExit(done.returncode)
    return f"`tests/gpu`: {done.stdout.strip().splitlines()[-1].strip('= ')}."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tests", action="store_true", help="run tests/gpu first")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page whose measured part is replaced")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU on this machine, so nothing was measured or written")
    if given.write is not None:
        replaced(given.write.read_text(encoding="utf-8"), "")  # before anything is measured
    tests = run_tests() if given.tests else ""
    sizes, lines = LARGE if given.device == "cuda" else SMALL, list[str]()
    for line in measured(torch.device(given.device), sizes, tests, time.monotonic() + TIME_S):
        print(line, flush=True)
        lines.append(line)
    if given.write is not None:
        page = replaced(given.write.read_text(encoding="utf-8"), "\n".join(lines))
        given.write.write_text(page, encoding="utf-8")
    if any(ENDED in line for line in lines):
        raise SystemExit("some parts ended with an error, see above")


if __name__ == "__main__":
    main()
