"""Training steps launched operation by operation, and replayed as a CUDA graph.

``python benchmarks/training_steps.py``: VGG-16 with random weights on random 32x32 images, shifted and mirrored, in one
process, one after the other; the time of a recording is included. ``host``: the images stay in main memory, and each
batch is copied. ``--device cpu`` runs it in small, where nothing is recorded, to see that it works.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu import nothing_recorded, seconds
from raprune.engine.arithmetic import exact_arithmetic
from raprune.engine.base import device_name
from raprune.engine.float32 import tf32
from raprune.engine.train import Recipe, train
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.registry import SCORES
from tests.tiny import lively_vgg, own_labels

LARGE = [(0.125, 60, 64), (0.25, 60, 64), (0.25, 60, 128), (1.0, 30, 128), (0.125, 10, 64)]
"""Width, steps, and images a step."""
SMALL = [(0.0625, 2, 8)]
RATE = 0.001


def images(number: int, device: torch.device, on_host: bool) -> Splits:
    """Random training images."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (number,), generator=generator)
    train_split = Split(drawn if on_host else drawn.to(device), labels.to(device))
    return replace(own_labels(lively_vgg(), 8), train=train_split, augment=shift_and_flip(2, flip=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    device = torch.device(parser.parse_args(arguments).device)
    on_gpu = device.type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU on this machine, so nothing was measured")
    exact_arithmetic(device)
    score, number = SCORES.build("top1_accuracy", {}), 4000 if on_gpu else 40
    print(f"{device_name(device)}, torch {torch.__version__}; milliseconds a step", flush=True)
    for precision in ["full", "tf32"] if on_gpu else ["full"]:
        for on_host in (False, True):
            splits = images(number, device, on_host)
            for width, steps, batch in LARGE if on_gpu else SMALL:
                recipe = Recipe(RATE, 0.9, 0.0005, batch, "linear")
                network = lively_vgg(width).to(device, memory_format=torch.channels_last)
                took = []
                for launching in (nothing_recorded(), contextlib.nullcontext()):
                    with launching, tf32() if precision == "tf32" else contextlib.nullcontext():
                        call = partial(train, network, splits, score, recipe, steps, 0)
                        took.append(1000 * seconds(call, device) / steps)
                where = "host" if on_host else "card"
                print(
                    f"width {width:<6g} {steps:3d} steps of {batch:3d}, {precision}, images on the {where}: "
                    f"launched {took[0]:6.2f}, replayed {took[1]:6.2f}, {took[0] / took[1]:.2f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
