"""What ``torch.compile`` would cost and save for a candidate: ``python benchmarks/compiled.py [--width W]``.

A few candidates of one layer of a VGG-16 with random weights, each compiled anew, because each has shapes of its own.
``plain`` is the smaller network in plain PyTorch, ``program`` the exact engine's fused one. Processor time, of this
process and of the compilers that it starts; medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu import STATE, masks_of
from raprune.engine.kernels.program import compile_module
from tests.tiny import engine_of, lively_vgg, own_labels

LAYER, NUM_IMAGES, REPEATS = "features.10", 50, 7


def seconds(call: Callable[[], Any]) -> float:
    before = os.times()
    with torch.inference_mode():
        call()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--candidates", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = lively_vgg(given.width)
    engine = engine_of(network, own_labels(network, NUM_IMAGES))
    images = engine.as_input(engine.splits.val.images_BCHW)
    for mask in masks_of(engine, LAYER, given.candidates):
        small = engine.build(STATE.cut(engine.graph, LAYER, mask))
        assert isinstance(small, fx.GraphModule)
        ways = {"plain": small, "program": compile_module(small), "compiled": torch.compile(small, dynamic=False)}
        first = {name: seconds(lambda way=way: way(images)) for name, way in ways.items()}
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, way in ways.items():
                took[name].append(seconds(lambda way=way: [way(images) for _ in range(10)]) / 10)
        each = ", ".join(f"{name} {1000 * statistics.median(all_s):.1f} ms" for name, all_s in took.items())
        print(f"width {given.width:g}: {each}; compiled once {first['compiled']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
