"""How busy a pool is, and what saturates first: ``python -m benchmarks.simulator``, some minutes on one core.

``record STUDY`` renews the recorded trials from a study that ran in one process; ``bounds`` prints one section alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.simulator.bounds import all_knowing, one_queue, parallelism
from benchmarks.simulator.events import hangs, spot
from benchmarks.simulator.recorded import made_up, read, record
from benchmarks.simulator.replaying import Measured, Setup, Simulation, measure
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.launch.in_flight import CALLS_PER_EVALUATOR
from tests.evaluators.plain import Plain

MASKS, COMMITS = 5, 10.0
"""Masks of an update, and candidates that a commit is worth."""
MOST = 1024
ROW_10 = {(1, 1): 88, (1, 2): 98, (2, 1): 79, (2, 2): 95, (6, 1): 73, (6, 3): 94}
TRIAL_GB = 0.32
"""Memory of a trial's process that it shares with no other, measured on Ray 2.60."""
HEAD = f"{'evaluators':>10s} {'trials':>6s} {'candidate':>9s}  {'busy':>4s} {'scoring':>7s} {'first looks':>11s}" + (
    f" {'commits':>7s}  {'candidates/s':>12s} {'cores':>5s} {'driver':>6s} {'trials GB':>9s}"
)


def setup(evaluators: int, each: float, candidate_s: float, masks: int = MASKS, commits: float = COMMITS) -> Setup:
    """A pool with so many calls in flight for each evaluator; ``commits``: in candidates."""
    trials = read(masks, candidate_s, commits * candidate_s)
    return Setup(evaluators, trials, max(2, math.ceil(each * evaluators / masks)), masks)


def alike(evaluators: int, trials: int, masks: int, candidate_s: float) -> Setup:
    """A pool for trials without commits, all of whose candidates take as long."""
    return Setup(evaluators, made_up(masks, candidate_s), trials, masks)


def row(of: Setup, candidate_s: float, found: Measured) -> str:
    work = found.by_work
    shares = f"{work.get('scoring', 0):7.0%} {work.get('first looks', 0):11.0%} {work.get('commits', 0):7.0%}"
    others = f"{found.candidates_per_s:12.0f} {found.cores * of.cores:5.2f} {found.driver:6.0%}"
    return (
        f"{of.evaluators:10d} {of.in_flight:6d} {candidate_s:7.1f} s  {found.busy:4.0%} {shares}  {others} "
        f"{of.in_flight * TRIAL_GB:9.0f}"
    )


def table(setups: Sequence[tuple[Setup, float]], window: float = 300.0, head: bool = True) -> Measured:
    """Print a row for each, over so many candidates' times; returns the last one's figures."""
    if head:
        print(HEAD)
    for of, candidate_s in setups:
        begun_s = of.in_flight * of.costs.begin  # Tune begins one trial after the other
        found = measure(of, warm_up_s=begun_s + window / 4 * candidate_s, window_s=window * candidate_s)
        print(row(of, candidate_s, found), flush=True)
    return found


def saturates(of: Setup, found: Measured) -> None:
    """Print how large a pool would fill each of the other parts, at the rate that was measured."""
    shares = {
        "the driver's loop, which takes in the trials' reports": found.driver,
        f"{of.cores} cores for the trials' processes": found.cores,
        "the cluster's store, at 5,000 reads a second": found.reads_per_s / 5000,
        "256 GB for the trials' processes": of.in_flight * TRIAL_GB / 256,
    }
    for what, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"  {what}: {share:.0%}, full at {of.evaluators / share:,.0f} evaluators")


def rough(of: Setup) -> None:
    """Machines that are lost, evaluators that hang: how busy the pool stays, and how often calls are made again."""
    trouble: Mapping[str, Sequence[float]] = {
        "nothing happens": (),
        "a machine lives 30 minutes": (1800.0,),
        "a machine lives 10 minutes": (600.0,),
        "a machine lives 10 minutes, an evaluator hangs every minute": (600.0, 60.0),
    }
    for what, times in trouble.items():
        found, lost = roughly(of, times)
        print(f"  {what}: busy {found.busy:.0%}, {found.candidates_per_s:.0f} candidates/s, {lost:.2%} of the calls "
              "were lost and made again", flush=True)  # fmt: skip


def roughly(of: Setup, times: Sequence[float]) -> tuple[Measured, float]:
    """``times``: what a machine lives, and between two evaluators that hang. Also returns the share of lost calls."""
    simulations: list[Simulation] = []

    def events(simulation: Simulation) -> None:
        simulations.append(simulation)
        if times:
            spot(simulation, seed=0, life_s=times[0], away_s=120.0)
        if times[1:]:
            hangs(simulation, seed=0, every_s=times[1])

    found = measure(of, warm_up_s=120.0, window_s=600.0, events=events)
    counts = simulations[0].cluster.counts
    return found, counts["lost"] / counts["calls"]


def dispatcher_us(evaluators: int, calls: int = 5, updates: int = 200) -> float:
    """Processor time of the dispatcher for one call, on a cluster that answers at once."""
    plain = Plain()
    dispatcher = Dispatcher({str(n): str(n) for n in range(evaluators)}, plain)
    began = time.thread_time()
    for _ in range(updates):
        dispatcher.run([Call([n], [n]) for n in range(calls)], lambda a, i: plain.call(a, "double", i), "scoring")
    return 1e6 * (time.thread_time() - began) / updates / calls


def bounds(evaluators: int = 64, candidate_s: float = 1.0) -> None:
    """What keeps the pool from being busier."""
    of = setup(evaluators, CALLS_PER_EVALUATOR, candidate_s)
    alone = sum(map(parallelism, of.trials)) / len(of.trials)
    shared = one_queue(of.trials, of.in_flight, evaluators, 600 * candidate_s)
    print(f"\nWhat keeps {evaluators} evaluators from being busier:")
    print(f"  a trial alone keeps {alone:.1f} evaluators busy, {of.in_flight} trials {alone * of.in_flight:.0f}")
    print(f"  one queue for all trials, first looks as in a trial that is alone: busy {shared:.0%}")
    print("As it is, then were each trial to know how many calls wait at its 5, 8, 12, 24 first evaluators:")
    table([(of, candidate_s)])
    for near in (5, 8, 12, 24):
        with all_knowing(near):
            table([(of, candidate_s)], head=False)


def show() -> None:
    print("The dispatcher's own processor time for a call:")
    for evaluators in (8, MOST):
        print(f"  {dispatcher_us(evaluators):.0f} us with {evaluators:,} evaluators")
    print("\nBeside what was measured on Ray, with evaluators that sleep 0.1 s (row 10 of benchmarks/README.md):")
    for (evaluators, trials), measured in ROW_10.items():
        found = measure(alike(evaluators, trials, MASKS, 0.1), warm_up_s=5.0, window_s=40.0)
        print(f"  {evaluators} evaluators, {trials} trials: busy {found.busy:.0%}, measured {measured}%")
    print("\nAll candidates alike, no commits (benchmarks/pool.py many has 32 trials of 64 masks, too):")
    table([(alike(MOST, 32, 64, 0.5), 0.5), (alike(MOST, 16, 128, 0.5), 0.5)], window=40.0)
    print(f"\nRecorded trials, {MASKS} masks an update; calls in flight for each evaluator are 2, 3, 4, 6:")
    table([(setup(64, each, 1.0), 1.0) for each in (2, 3, 4, 6)])
    print("\nThe same with commits of 100 candidates' time, and of 1:")
    table([(setup(64, CALLS_PER_EVALUATOR, 1.0, commits=commits), 1.0) for commits in (100.0, 1.0)])
    bounds()
    print(f"\n{MOST:,} evaluators, and what else is in use:")
    for candidate_s in (5.0, 1.0, 0.2):
        of = setup(MOST, CALLS_PER_EVALUATOR, candidate_s)
        saturates(of, table([(of, candidate_s)], window=80.0))
    print("\n64 evaluators, 8 on a machine, a candidate takes 1 s; a lost machine is back after 2 minutes:")
    rough(setup(64, CALLS_PER_EVALUATOR, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["show", "bounds", "record"], default="show")
    parser.add_argument("study", nargs="?", type=Path, help="of record")
    given = parser.parse_args()
    if given.what == "record":
        print(f"{record(given.study):,} candidates recorded")
    elif given.what == "bounds":
        bounds()
    else:
        show()


if __name__ == "__main__":
    main()
