"""Rankings and decision stages at equal candidates, single layers: ``python benchmarks/rankings.py --help``.

Prunes layers of the quickstart's baseline (digits VGG-16 at width 1/8), each alone, at a bound of one point, forward
only. For each number of candidates, method and decision stage: the share pruned (mean over the layers, then over the
baselines, with its standard error over the baselines), the drop on test, the share of layers where that exceeds the
bound, and the candidates asked for. Nothing is written but the baselines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import Engine, ExactEngine
from raprune.engine.tasks import Importance
from raprune.engine.workload import Workload
from raprune.evaluators.base import OnEngine
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.decisions.base import fewest_kept
from raprune.plugins.methods.base import CandidatesSpent, LayerView
from raprune.registry import DECISIONS, METHODS, REWARDS
from raprune.study import load_study
from raprune.study.seeds import seed_for
from raprune.trial.budget import TrialBudget, Unlimited
from raprune.trial.candidates import Candidates, Scale

STUDY = Path(__file__).resolve().parents[1] / "studies" / "quickstart.yaml"
LAYERS = (5, 8, 10, 12)
"""Of 13, counted from 1."""
CHOICES = ["magnitude", "random", "agent", "pbil", "ridge"]


@dataclass(frozen=True)
class Outcome:
    """One layer decided."""

    pruned: float
    test_drop: float
    candidates: int


class Bench:
    """One baseline and everything that was ever scored on it."""

    def __init__(self, folder: Path, seed: int, drop_bound: float) -> None:
        trial = load_study(
            STUDY, [f"{key}={seed}" for key in ("seed", "data_seed", "baseline.seed", "dataset.split_seed")]
        ).trials[0]
        place = folder / trial.baseline_key
        self.seed, self.baseline = seed, prepare_baseline(trial, place)
        torch.set_num_threads(trial.scoring.threads)
        self.engine: Engine = ExactEngine(Workload.of(trial, place))
        self.state = State.baseline(trial.baseline_key)
        reward = REWARDS.build("bounded_log", {})
        self.scale = Scale(self.baseline.val_score, drop_bound, reward)
        self.known: dict[tuple[str, KeepMask], object] = {}
        self.layers = [list(self.engine.graph.groups)[number - 1] for number in LAYERS]

    def evaluate(self, state, layer, masks, lowest, starts=None):  # type: ignore[no-untyped-def]
        """As an evaluator, with a memo in front of it."""
        new = list(dict.fromkeys(mask for mask in masks if (layer, mask) not in self.known))
        scored = OnEngine(self.engine, "here").evaluate(state, layer, new, lowest) if new else []
        self.known |= {(layer, mask): result for mask, result in zip(new, scored, strict=True)}
        return [self.known[layer, mask] for mask in masks]

    def run(self, method: str, decision: str, layer: str, most: int) -> Outcome:
        """Decide one layer with at most ``most`` candidates; ``method`` is a name, or a name and settings as JSON."""
        name, _, settings = method.partition(" ")
        budget = TrialBudget(Unlimited(), "", 0, most)
        weights_NM = self.engine.graph.group(layer).weights_NM(self.engine.weights)
        view = LayerView(
            layer,
            weights_NM,
            lambda criterion: torch.tensor(Importance(layer, criterion).run(self.engine, self.state)).double(),
        )
        candidates = Candidates(self, self.state, layer, view.num_filters, self.scale, lambda _: None, budget)
        rng = torch.Generator().manual_seed(seed_for(self.seed, name, layer))
        try:
            ranking = METHODS.build(name, json.loads(settings or "{}")).rank(view, candidates, rng)
            mask = DECISIONS.build(decision, {}).decide(ranking, candidates)
        except CandidatesSpent:
            mask = fewest_kept(candidates, view.num_filters)
        cut = KeepMask.of(mask)
        test = self.baseline.test_score
        if not cut.keeps_all:
            test = self.engine.measure(self.state.cut(self.engine.graph, layer, cut), "test")
        return Outcome(cut.pruning_ratio, self.baseline.test_score - test, len(candidates.rows))


def row(label: str, outcomes: list[list[Outcome]], bound: float) -> str:
    """A line of the table; outcomes by baseline and layer."""
    ratios = [100 * statistics.fmean(o.pruned for o in of_baseline) for of_baseline in outcomes]
    every = [o for of_baseline in outcomes for o in of_baseline]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    return (
        f"{label:<52} {statistics.fmean(ratios):5.1f} +- {error:3.1f}"
        f"  {statistics.fmean(o.test_drop for o in every):+5.2f}"
        f"  {100 * statistics.fmean(o.test_drop > bound + 1e-9 for o in every):4.0f}%"
        f"  {statistics.fmean(o.candidates for o in every):5.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baselines", type=Path, default=Path("results/rankings"), help="where baselines are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--candidates", type=int, nargs="+", default=[120, 300])
    parser.add_argument("--bound", type=float, default=1.0)
    parser.add_argument("--decisions", nargs="+", default=["prefix", "trim", "search"])
    parser.add_argument("--methods", nargs="+", default=CHOICES, help="""such as pbil or 'pbil {"elite": 0.1}'""")
    given = parser.parse_args()
    benches = [Bench(given.baselines, seed, given.bound) for seed in given.seeds]
    print(f"{'':<52} pruned %     test  over  candidates")
    for most in given.candidates:
        for method in given.methods:
            for decision in given.decisions:
                outcomes = [[b.run(method, decision, layer, most) for layer in b.layers] for b in benches]
                print(row(f"{most:<4d}{method} + {decision}", outcomes, given.bound), flush=True)


if __name__ == "__main__":
    main()
