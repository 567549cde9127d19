"""How often float32 makes the smaller network and the masked one answer differently: ``python benchmarks/ties.py``.

Takes the distinct candidates that trials of ``studies/quickstart.yaml`` recorded (``--results``, one or more folders),
each in the untouched baseline, and the ``--images`` validation images of which the baseline is least sure. Compares
the predictions of the exact engine's forward with the naive engine's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import fx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.engine import ExactEngine, NaiveEngine
from raprune.engine.masked import mask_channels
from raprune.engine.workload import Workload
from raprune.network.state import State
from raprune.study import load_study
from raprune.study.fidelity import FidelitySpec


def distinct(folders: Sequence[Path], at_most: int) -> list[tuple[str, torch.Tensor]]:
    """Layer and mask of the candidates of all trials, no two alike."""
    found: dict[tuple[str, tuple[bool, ...]], None] = {}
    for file in sorted(file for folder in folders for file in folder.glob("trials/*/candidates-*.parquet")):
        table = pq.read_table(file, columns=["layer", "keep_mask"]).to_pydict()
        found |= {(n, tuple(m)): None for n, m in zip(table["layer"], table["keep_mask"], strict=True) if not all(m)}
    spread = torch.linspace(0, len(found) - 1, min(at_most, len(found))).round().int().tolist()
    every = list(found)
    return [(every[place][0], torch.tensor(every[place][1])) for place in spread]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, nargs="+", default=[Path("results/quickstart")])
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    trials = [load_study(folder / "study.yaml").trials[0] for folder in given.results]
    if len({trial.baseline_key for trial in trials}) > 1:
        parser.error("the studies have different baselines")
    trial = trials[0].model_copy(update={"fidelity": FidelitySpec()})
    workload = Workload.of(trial, given.results[0] / "baselines" / trial.baseline_key)
    exact, naive = ExactEngine(workload), NaiveEngine(workload)
    state = State.baseline(trial.baseline_key)
    val = exact.splits.val.images_BCHW[exact._order[: given.images]]
    candidates = distinct(given.results, given.candidates)
    differing = predictions = 0
    widest = furthest = 0.0
    for layer, mask in candidates:
        network = naive.build(state)
        assert isinstance(network, fx.GraphModule)
        masked = mask_channels(network, naive.graph, {}, {layer: mask.tensor})
        halves = exact._halves(state, layer)
        assert halves is not None
        with torch.inference_mode():
            for images in map(exact.as_input, val.split(workload.scoring.batch_size)):
                slow, fast = masked(images), halves.candidate(mask)(halves.prefix(images))
                largest = slow.abs().max()
                best = slow.topk(2, 1).values
                differ = slow.argmax(1) != fast.argmax(1)
                predictions += len(differ)
                differing += int(differ.sum())
                furthest = max(furthest, float((slow - fast).abs().max() / largest))
                if differ.any():
                    widest = max(widest, float(((best[:, 0] - best[:, 1]) / largest)[differ].max()))
    print(f"{len(candidates)} candidates, {predictions} predictions: {differing} differ")
    print(f"where they do, the two best logits are at most {widest:.1e} of the largest apart")
    print(f"logits differ by at most {furthest:.1e} of the largest")


if __name__ == "__main__":
    main()
