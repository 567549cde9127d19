"""How fast a GPU scores candidates: ``python benchmarks/gpu.py [--width W] [--batch B]``; needs torch, not Ray.

VGG-16 with random weights on random 32x32 images. A candidate is a random cut of one layer, scored on all images
without early exit; whatever all candidates of a layer share was computed before. ``naive`` is the masked network in
plain PyTorch, ``compact`` the exact engine with one mask at a time, ``stacked`` the same with several masks per launch,
which is what a study on a GPU uses. All run in float32 without TF32, in one process, one after the other; times are
medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.engine import Engine, ExactEngine, NaiveEngine
from raprune.engine.base import device_name
from raprune.engine.stacked import StackedEngine
from raprune.network.masks import KeepMask
from raprune.network.measure import count_macs
from raprune.network.state import State
from tests.tiny import engine_of, lively_vgg, own_labels

STATE = State.baseline("baseline")
NUM_MASKS, REPEATS = 8, 2
PAPER = {"layers": 13, "updates": 100, "masks": 5, "steps": 391}
"""The paper's VGG-16, at most: updates a layer, masks an update, and steps of an epoch of CIFAR-10 at batch 128."""


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Median of some calls, after one that is not counted."""
    took = []
    for _ in range(REPEATS + 1):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def masks_of(engine: Engine, layer: str) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(0)
    size = engine.graph.group(layer).num_filters
    return [KeepMask.of(torch.rand(size, generator=generator) < 0.6) for _ in range(NUM_MASKS)]


def candidates(engines: dict[str, Engine], device: torch.device) -> None:
    """Seconds a candidate, layer by layer and side by side."""
    print(f"{'layer':12s}" + "".join(f"{name + ' ms':>13s}" for name in engines) + "   of naive")
    total = dict.fromkeys(engines, 0.0)
    for layer in engines["naive"].graph.groups:
        asked, took = masks_of(engines["naive"], layer), {}
        for name, engine in engines.items():
            call = partial(engine.evaluate_many, STATE, layer, asked, None, [None] * NUM_MASKS)
            took[name] = seconds(call, device) / NUM_MASKS
            total[name] += took[name]
        ratios = ", ".join(f"{took['naive'] / took[name]:.1f}x" for name in engines if name != "naive")
        print(f"{layer:12s}" + "".join(f"{1000 * took[name]:13.3f}" for name in engines) + f"   {ratios}", flush=True)
    ratios = ", ".join(f"{total['naive'] / total[name]:.2f}x" for name in engines if name != "naive")
    print(f"{'mean':12s}" + "".join(f"{1000 * total[name] / 13:13.3f}" for name in engines) + f"   {ratios}")


def rates(engine: Engine, device: torch.device) -> None:
    """Images a second of the whole network, against the card's best convolution."""
    size = engine.workload.scoring.batch_size
    images = engine.as_input(engine.splits.val.images_BCHW[:size])
    forward = engine.forward(STATE)
    with torch.inference_mode():
        whole = seconds(lambda: forward(images), device)
        best = 0.0
        for channels, side in ((64, 32), (128, 16), (256, 8), (512, 4)):
            x = torch.randn(size, channels, side, side, device=device).contiguous(memory_format=torch.channels_last)
            w = torch.randn(channels, channels, 3, 3, device=device).contiguous(memory_format=torch.channels_last)
            took = seconds(lambda x=x, w=w: [F.conv2d(x, w, None, 1, 1) for _ in range(10)], device) / 10
            best = max(best, size * channels**2 * 9 * side**2 / took)
    macs = count_macs(engine.traced.network, engine.splits.input_shape) * size / whole
    print(f"whole network: {size / whole:,.0f} images/s, {macs / 1e12:.2f} T multiply-adds/s, "
          f"{100 * macs / best:.0f}% of the best convolution ({best / 1e12:.2f} T)")  # fmt: skip


def finetunes(width: float, device: torch.device, num_images: int) -> None:
    """The fine-tune before the reward, and what the paper's study would take by it."""
    net = lively_vgg(width)
    engine = engine_of(net, own_labels(net, num_images), 20, device=str(device), stacked=device.type == "cuda")
    layer = "features.10"
    mask = masks_of(engine, layer)[0]
    step = seconds(lambda: engine.evaluate(STATE, layer, mask, None), device) / 20
    hours = PAPER["layers"] * PAPER["updates"] * PAPER["masks"] * PAPER["steps"] * step / 3600
    batch = engine.workload.finetune.batch_size
    print(f"fine-tune: {1000 * step:.2f} ms a step of {batch} images, scoring spread over its steps")
    print(
        f"the paper's schedule for this width, one bound, at most, computed from that step: {hours:,.1f} h on 1 card, "
        f"{hours / 8:,.1f} h on 8, {hours / 64:,.1f} h on 64"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=500)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = lively_vgg(args.width)
    made = engine_of(net, own_labels(net, args.images), device=str(device), batch_size=args.batch)
    workload = made.workload
    print(f"{device_name(device)}, torch {torch.__version__}; VGG-16 width {args.width}, {args.images} images")
    engines: dict[str, Engine] = {
        "naive": NaiveEngine(workload, str(device)),
        "compact": ExactEngine(workload, str(device)),
    }
    if device.type == "cuda":
        engines["stacked"] = StackedEngine(workload, str(device))
    rates(made, device)
    candidates(engines, device)
    finetunes(args.width, device, args.images)


if __name__ == "__main__":
    main()
