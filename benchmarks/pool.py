"""The pool of evaluators, on two cores: one row of the table in benchmarks/README.md per command.

    python benchmarks/pool.py two          # row 7: two evaluators against one, one thread each
    python benchmarks/pool.py dispatch     # row 8: dispatch per candidate, network and data resident
    python benchmarks/pool.py many         # row 9: 64 simulated evaluators of 16 slots: share busy, driver's processor
    python benchmarks/pool.py few          # row 10: 1, 2 and 6 simulated evaluators at M = 5

Simulated evaluators sleep; Ray, the dispatcher and the agent are the real ones.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulated_pool import few, many
from raprune.engine import open_engine
from raprune.engine.workload import Workload
from raprune.evaluators.base import PoolAddress
from raprune.evaluators.ray_pool import RayPool
from raprune.launch.base import Launch
from raprune.launch.on_ray import RayRunner, ray_runner
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.learning import sample_masks
from raprune.study import StudyPlan, load_study
from raprune.study.parts import EvaluatorsSpec, ScoringSpec

STUDY = """
name: pool
model: {name: vgg16, width: 0.25}
dataset: digits
baseline: {epochs: 2}
method: agent
drop_bound: 2.0
"""


class Quiet:
    """Watches a study without a word."""

    def planned(self, plan: StudyPlan) -> None: ...

    def note(self, text: str) -> None: ...

    def phase(self, text: str) -> None: ...

    def evaluators(self, text: str) -> None: ...

    def told(self, trial_id: str, progress: dict[str, Any]) -> None: ...

    def ended(self, trial_id: str, status: str, folder: Path) -> None: ...


@contextlib.contextmanager
def real_pool(count: int) -> Iterator[tuple[Workload, PoolAddress]]:
    """The project's own pool on digits VGG-16 at width 1/4, its baseline ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pool.yaml").write_text(STUDY)
        plan = load_study(folder / "pool.yaml", [])
        with ray_runner(Launch(plan, folder, plan.trials, count), Quiet()) as runner:
            assert isinstance(runner, RayRunner)
            runner.prepare(plan.trials)
            assert runner.place.pool is not None
            yield Workload.of(plan.trials[0], runner.place.baseline_folder(plan.trials[0])), runner.place.pool


def some_masks(number: int, num_filters: int) -> list[KeepMask]:
    logits_N = torch.full((num_filters,), 1.4)
    return [KeepMask.of(mask) for mask in sample_masks(logits_N, number, torch.Generator().manual_seed(0))]


def two(layer: str = "features.7", num_filters: int = 32, number: int = 20) -> None:
    spec, masks = EvaluatorsSpec(device="cpu"), some_masks(number, num_filters)
    with real_pool(2) as (workload, address):
        state = State.baseline(workload.baseline_key)
        pools = {n: RayPool(spec, workload, PoolAddress(address.namespace, address.names[:n])) for n in (1, 2)}
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for repeat in range(6):
            for n, pool in pools.items():
                began = time.perf_counter()
                pool.evaluate(state, layer, masks, None)
                if repeat:  # the first one fills the cache
                    seconds[n].append(time.perf_counter() - began)
    one, both = (statistics.median(seconds[n]) for n in (1, 2))
    ratios = [a / b for a, b in zip(seconds[1], seconds[2], strict=True)]
    print(f"{number} candidates of {layer}, medians of 5: one evaluator {one:.2f} s, two {both:.2f} s")
    print(f"ratio: {one / both:.2f} (pair by pair {min(ratios):.2f} to {max(ratios):.2f})")


def dispatch(layer: str = "features.40", num_filters: int = 128) -> None:
    spec, masks = EvaluatorsSpec(device="cpu"), some_masks(200, num_filters)
    with real_pool(1) as (workload, address):
        state, pool = State.baseline(workload.baseline_key), RayPool(spec, workload, address)
        for size in (1, 5, 1, 5):
            over = []
            for at in range(0, len(masks), size):
                began = time.perf_counter()
                found = pool.evaluate(state, layer, masks[at : at + size], None)
                took = time.perf_counter() - began
                over.append((took - sum(e.scored.seconds for e in found)) / size)
            low, median, high = statistics.quantiles(over, n=4)
            print(f"{size} at a time: dispatch {1000 * median:.2f} ms a candidate (quartiles {1000 * low:.2f}, "
                  f"{1000 * high:.2f}); the last took {1000 * found[-1].scored.seconds:.2f} ms to score")  # fmt: skip
        engine = open_engine(replace(workload, scoring=ScoringSpec(batch_size=1)), "cpu", spec)
        for name, filters in (("features.0", 16), (layer, num_filters)):
            fixed = [engine.evaluate(state, name, mask, 100.5).seconds for mask in some_masks(200, filters)]
            print(f"engine, {name}, stopped after one image: {1000 * statistics.median(fixed):.2f} ms a candidate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=["two", "dispatch", "many", "few"])
    parser.add_argument("--evaluators", type=int, default=64)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one mask, for `few`")
    parser.add_argument("--updates", type=int, default=30)
    given = parser.parse_args()
    if given.row == "many":
        many(given.evaluators, given.slots, given.trials, given.masks)
    elif given.row == "few":
        few(given.seconds, given.updates)
    else:
        {"two": two, "dispatch": dispatch}[given.row]()


if __name__ == "__main__":
    main()
