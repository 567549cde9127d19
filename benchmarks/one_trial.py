"""How busy one trial alone keeps a pool: ``python -m benchmarks.one_trial``, a minute on one core.

Recorded trials of benchmarks/one_trial.yaml, each alone on the simulated cluster of benchmarks/simulator. ``record
STUDY`` renews them from that study, run in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.simulator.recorded import Trial, read, record
from benchmarks.simulator.replaying import Setup, Simulation

FILE = Path(__file__).with_name("data") / "recorded_stages.parquet"
METHODS = ("agent", "taylor")
CANDIDATE_S = 1.0
POOLS = (1, 2, 6)
WITHIN_S = 10**6


def deciding(trial: Trial) -> Trial:
    """The trial without its commits, of which one evaluator does each whatever decides a layer."""
    return replace(trial, layers=tuple(replace(layer, commit_s=0.0) for layer in trial.layers))


def busy(trial: Trial, evaluators: int) -> float:
    """Share of their time in which the evaluators work for a trial that has them for itself."""
    simulation = Simulation(Setup(evaluators, [trial], 1))
    try:
        simulation.clock.run(2 * simulation.setup.costs.start)
        began = simulation.clock.now
        simulation.study(1)
        while not simulation.trials_ended:
            simulation.clock.run(simulation.clock.now + CANDIDATE_S)
        return sum(simulation.cluster.busy().values()) / evaluators / (simulation.clock.now - began)
    finally:
        simulation.clock.close()


def show(trials: Sequence[Trial]) -> None:
    print(
        f"{'one trial alone':58s}{'candidates':>11s}{'in a call':>10s}  busy of " + "".join(f"{n:>6d}" for n in POOLS)
    )
    for trial in trials:
        calls = [call for layer in trial.layers for call in layer.calls]
        number, shares = sum(map(len, calls)), [busy(deciding(trial), evaluators) for evaluators in POOLS]
        print(
            f"{trial.about:58s}{number:11d}{number / len(calls):10.1f}"
            + " " * 10
            + "".join(f"{s:6.0%}" for s in shares)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["show", "record"], default="show")
    parser.add_argument("study", nargs="?", type=Path, help="of record")
    given = parser.parse_args()
    if given.what == "record":
        print(f"{record(given.study, FILE, METHODS):,} candidates recorded")
    else:
        show(read(None, CANDIDATE_S, file=FILE))


if __name__ == "__main__":
    main()
