"""How the cost of a candidate grows: ``OMP_NUM_THREADS=1 python benchmarks/growth.py``, a minute or two.

A VGG-16 with its initial weights on scikit-learn's digits, without fine-tuning or early exit, so the result depends on
shapes alone. Half of the filters of one layer are kept, and everything below it was computed before; medians of
``--repeats`` candidates.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.engine import Engine, open_engine
from raprune.engine.inputs import Inputs
from raprune.engine.workload import WEIGHTS_FILE, Workload
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.network.weights import save_safetensors
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec

STUDY = """
name: growth
model: {{name: vgg16, width: {width}}}
dataset: {{name: digits, num_val: {images}}}
guard: 0
drop_bound: 2.0
"""
LAYERS = ("features.0", "features.7", "features.14", "features.24", "features.34", "features.40")


def engine_of(width: float, images: int, folder: Path) -> Engine:
    """The exact engine on an untrained network."""
    (folder / "growth.yaml").write_text(STUDY.format(width=width, images=images))
    trial = load_study(folder / "growth.yaml").trials[0]
    torch.manual_seed(0)
    network = Inputs().network(trial.model, 10, (1, 32, 32))
    save_safetensors(network.state_dict(), folder / WEIGHTS_FILE)
    return open_engine(Workload.of(trial, folder), "cpu", EvaluatorsSpec(device="cpu"))


def seconds(engine: Engine, layer: str, repeats: int) -> float:
    """Of a candidate, with half of the layer's filters."""
    state = State.baseline(engine.workload.baseline_key)
    num_filters, found = engine.graph.group(layer).num_filters, []
    for repeat in range(repeats + 1):
        kept = torch.randperm(num_filters, generator=torch.Generator().manual_seed(repeat))[: num_filters // 2]
        mask = KeepMask.of(torch.zeros(num_filters, dtype=torch.bool).index_fill_(0, kept, True))
        began = time.perf_counter()
        engine.evaluate(state, layer, mask, None)
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])  # the first one fills the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("images, width 1/4, features.7:")
        show({str(n): seconds(engine_of(0.25, n, folder), "features.7", repeats) for n in (125, 250, 500, 1000)})
        print("width (filters of every layer), 500 images, features.7:")
        show({f"{w:g}": seconds(engine_of(w, 500, folder), "features.7", repeats) for w in (0.125, 0.25, 0.5, 1.0)})
        print("layer, width 1/4, 500 images:")
        engine = engine_of(0.25, 500, folder)
        show({layer: seconds(engine, layer, repeats) for layer in LAYERS})


def show(found: dict[str, float]) -> None:
    first = next(iter(found.values()))
    for what, took in found.items():
        print(f"  {what:12s}{1000 * took:9.1f} ms a candidate {took / first:7.2f}x", flush=True)


if __name__ == "__main__":
    main()
