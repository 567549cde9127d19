"""What stopping dominated trials saves: ``python -m benchmarks.schedulers``, a minute on one core.

Twelve recorded trials of benchmarks/schedulers.yaml, replayed on the simulated cluster of benchmarks/simulator.
``record STUDY`` renews them from that study, run in one process without a scheduler; ``compare STUDY`` holds a run with
one against the replay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulator.recorded import Trial, read, record
from benchmarks.simulator.replaying import Setup
from benchmarks.simulator.scheduled import Scheduled
from raprune.launch.in_flight import CALLS_PER_EVALUATOR
from raprune.plugins.schedulers.base import Standing
from raprune.registry import SCHEDULERS
from raprune.results import read_manifest, read_study
from raprune.study import Choice

FILE = Path(__file__).with_name("data") / "recorded_sweep.parquet"
METHODS = ("agent", "magnitude", "random")
MASKS, CANDIDATE_S = 5, 1.0
WITHIN_S = 10**7
SETTINGS = ((None, 12), ("asha", 4), ("dominated", 4), ("asha", 1), ("dominated", 1))
"""Scheduler and trials of a round."""


@dataclass(frozen=True)
class Outcome:
    """A study with a scheduler, or without."""

    decided: list[int]
    """Layers of each trial."""
    candidates: int
    busy_s: float
    """What all evaluators together worked."""
    took_s: float


def choice(name: str, at_once: int) -> Choice:
    settings = SCHEDULERS.build(name, {"at_once": at_once}).settings
    return Choice(name=name, settings=settings.model_dump())


def replay(trials: Sequence[Trial], name: str | None, at_once: int, evaluators: int) -> Outcome:
    in_flight = max(2, -(-CALLS_PER_EVALUATOR * evaluators // MASKS))
    scheduler = None if name is None else choice(name, at_once)
    simulation = Scheduled(Setup(evaluators, trials, in_flight, MASKS), scheduler, at_once)
    try:
        simulation.finish(len(trials), WITHIN_S)
        decided = [simulation.decided[number] for number in range(len(trials))]
        busy_s = sum(simulation.cluster.busy().values())
        return Outcome(decided, simulation.cluster.counts["candidates"], busy_s, simulation.ended_at)
    finally:
        simulation.clock.close()


def front(ends: Sequence[Standing]) -> list[int]:
    """The trials that no other one dominates at its end."""
    return [number for number, own in enumerate(ends) if not any(other.dominates(own) for other in ends)]


def ends(trials: Sequence[Trial]) -> list[Standing]:
    return [trial.layers[-1].standing or Standing(0, 0.0) for trial in trials]


def show(trials: Sequence[Trial]) -> None:
    whole, best = front(ends(trials)), min(range(len(trials)), key=lambda number: ends(trials)[number].macs)
    print(f"{len(trials)} trials; {len(whole)} of them are dominated by none at their end:")
    for number, (trial, end) in enumerate(zip(trials, ends(trials), strict=True)):
        marks = "  not dominated" * (number in whole) + ", fewest multiply-adds" * (number == best)
        asked = sum(layer.num_candidates for layer in trial.layers)
        print(f"  {trial.about}: {end.macs / 1e6:.2f} M multiply-adds, drop {end.drop:+.2f}, {asked} candidates{marks}")
    for evaluators in (1, 4, 16):
        print(f"\n{evaluators} evaluators, a candidate takes {CANDIDATE_S:.0f} s, a commit as recorded beside it:")
        first = None
        for name, at_once in SETTINGS:
            found = replay(trials, name, at_once, evaluators)
            first = first or found
            print("  " + line(trials, name, at_once, found, first, whole, best), flush=True)


def line(
    trials: Sequence[Trial], name: str | None, at_once: int, found: Outcome, first: Outcome, whole: list[int], best: int
) -> str:
    stopped = [n for n, layers in enumerate(found.decided) if layers < len(trials[n].layers)]
    what = "no scheduler" if name is None else f"{name}, {at_once} at once"
    kept = f"{sum(n not in stopped for n in whole)} of {len(whole)} kept, best {'lost' if best in stopped else 'kept'}"
    return (
        f"{what:20s} {len(stopped):2d} stopped ({kept}), {found.candidates:5d} candidates "
        f"({found.candidates / first.candidates - 1:+.0%}), evaluators' work {found.busy_s / first.busy_s - 1:+.0%}, "
        f"{found.took_s:6.0f} s ({found.took_s / first.took_s - 1:+.0%})"
    )


def compare(study: Path, trials: Sequence[Trial]) -> str:
    """A real run with a scheduler beside its replay."""
    tables, order = read_study(study, ["trial", "layers"]), read_manifest(study)["trial_ids"]
    real = tables.layers.groupby("trial_id").size().reindex(order, fill_value=0).tolist()
    found = {name: replay(trials, name, 4, 1).decided for name in ("asha", "dominated")}
    alike = [name for name, decided in found.items() if decided == real]
    return f"layers decided in {study}: {real}; the replay of {' and '.join(alike) or 'no scheduler'} says the same"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["show", "record", "compare"], default="show")
    parser.add_argument("study", nargs="?", type=Path)
    given = parser.parse_args()
    if given.what == "record":
        print(f"{record(given.study, FILE, METHODS):,} candidates recorded")
    elif given.what == "compare":
        print(compare(given.study, read(MASKS, CANDIDATE_S, file=FILE)))
    else:
        show(read(MASKS, CANDIDATE_S, file=FILE))


if __name__ == "__main__":
    main()
