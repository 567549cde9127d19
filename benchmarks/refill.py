"""One network refilled for every candidate, beside a new copy: ``OMP_NUM_THREADS=1 python benchmarks/refill.py``.

Untrained networks of two shipped studies, candidates recalibrated over two batches (``preset: fast``), no early exit:
processor milliseconds per candidate, both ways in turn on the same masks; medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import MethodType

import torch
from torch import nn

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
name: refill
preset: fast
model: {{name: {model}, width: {width}}}
dataset: {{name: digits, num_val: 400}}
guard: 0
drop_bound: 2.0
"""
NETWORKS = (("vgg16", 0.125), ("vgg16", 0.25), ("resnet18", 0.125))
NUM_MASKS = 12


def engine_of(model: str, width: float, folder: Path) -> Engine:
    (folder / "refill.yaml").write_text(STUDY.format(model=model, width=width))
    trial = load_study(folder / "refill.yaml").trials[0]
    torch.manual_seed(0)
    save_safetensors(Inputs().network(trial.model, 10, (1, 32, 32)).state_dict(), folder / WEIGHTS_FILE)
    return open_engine(Workload.of(trial, folder), "cpu", EvaluatorsSpec(device="cpu"))


def main() -> None:
    torch.set_num_threads(1)
    for model, width in NETWORKS:
        with tempfile.TemporaryDirectory() as name:
            engine = engine_of(model, width, Path(name))
        ways: dict[str, Callable[[Engine, State], nn.Module]] = {
            "refilled": type(engine).scratch,
            "copied": type(engine).build,
        }
        state, found = State.baseline(engine.workload.baseline_key), dict[str, list[float]]((way, []) for way in ways)
        layers = list(engine.graph.groups)
        for layer in (layers[1], layers[len(layers) // 2], layers[-1]):
            for number in range(NUM_MASKS + 1):
                mask = torch.rand(engine.graph.group(layer).num_filters) < 0.7
                mask[0] = True
                for way, network_of in ways.items():
                    engine.scratch = MethodType(network_of, engine)  # type: ignore[method-assign]
                    began = time.process_time()
                    engine.evaluate(state, layer, KeepMask.of(mask), None)
                    if number:  # the first one fills the cache
                        found[way].append(1000 * (time.process_time() - began))
        refilled, copied = (statistics.median(found[way]) for way in ways)
        print(
            f"{model:10s}width {width:<6g} copied {copied:6.1f} ms, refilled {refilled:6.1f} ms a candidate:"
            f"{copied / refilled:6.2f}x"
        )


if __name__ == "__main__":
    main()
