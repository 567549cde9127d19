"""The true optimum of layers of 16 filters: ``python -m benchmarks.optimum score|rate|race|table``; needs no Ray."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import raprune
from benchmarks.optimum.networks import LAYERS, workload_of
from benchmarks.optimum.racing import BOUNDS, LIMITS, race, racer, summary
from benchmarks.optimum.scoring import Scorer, all_counts
from benchmarks.optimum.tables import FOLDER, SCHEMA, Origin, ScoreTable, read_tables, write_table
from raprune.engine.base import device_name
from raprune.engine.tasks import Importance
from raprune.errors import InputError, RapruneError
from raprune.plugins.methods.base import Criterion
from raprune.registry import METHODS

RACERS = (
    "magnitude+prefix magnitude+trim magnitude+search taylor+search random+search agent+trim agent+search pbil+search "
    "ridge+search"
)
CHECKED = 48
"""Masks of each table that the engine scores again, half of them among those within the deepest drop."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimum", description=__doc__)
    commands = parser.add_subparsers(required=True)
    scoring = commands.add_parser("score", help="score all masks of layers, a table each")
    scoring.add_argument("network", choices=LAYERS)
    scoring.add_argument("--layers", nargs="+", help="all of the network's layers of 16 filters if omitted")
    scoring.add_argument("--seed", type=int, default=0, help="of the baseline and of the draw of validation images")
    scoring.add_argument("--recalibrate", type=int, metavar="BATCHES", help="recalibrate the norms of every candidate")
    scoring.add_argument("--deepest", type=float, default=8.0, help="points; what loses more is recorded as lost")
    scoring.add_argument("--device", default="cpu")
    scoring.add_argument("--workers", type=int, default=1, help="processes on a CPU")
    scoring.add_argument("--criteria", nargs="*", help="those that rate the filters for the table; all if omitted")
    scoring.add_argument("--baselines", type=Path, default=Path("results/optimum"))
    scoring.add_argument("--out", type=Path, default=FOLDER)
    scoring.set_defaults(call=score)
    rating = commands.add_parser("rate", help="compute the criteria that tables lack, on baselines made again")
    rating.add_argument("--baselines", type=Path, default=Path("results/optimum"))
    rating.add_argument("--tables", type=Path, default=FOLDER, help="their folder")
    rating.set_defaults(call=rate)
    racing = commands.add_parser("race", help="race methods on the tables; prints and writes their regret")
    racing.add_argument("racers", nargs="*", help=f"METHOD+DECISION, with settings as JSON; default: {RACERS}")
    racing.add_argument("--tables", type=Path, default=FOLDER, help="their folder")
    racing.add_argument("--only", default="", help="tables whose name contains this")
    racing.add_argument("--bounds", type=float, nargs="+", default=BOUNDS, help="points")
    racing.add_argument("--limits", type=int, nargs="+", default=LIMITS, help="candidates of a layer")
    racing.add_argument("--draws", type=int, default=3, help="runs of a racer that draws random numbers")
    racing.add_argument("--out", type=Path, default=Path("results/optimum/regret.parquet"))
    racing.set_defaults(call=run_race)
    showing = commands.add_parser("table", help="print what a race wrote")
    showing.add_argument("regret", type=Path, nargs="?", default=Path("results/optimum/regret.parquet"))
    showing.set_defaults(call=lambda arguments: print(summary(pd.read_parquet(arguments.regret))))
    arguments = parser.parse_args()
    try:
        arguments.call(arguments)
    except RapruneError as error:
        raise SystemExit(str(error)) from None


def score(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    batches = arguments.recalibrate
    workload = workload_of(arguments.network, arguments.seed, batches, arguments.baselines)
    for layer in arguments.layers or LAYERS[arguments.network]:
        began = time.perf_counter()
        make = partial(Scorer, workload, layer, arguments.device, arguments.deepest)
        scorer = make()
        rated = importance(scorer, arguments.criteria)
        counts = all_counts(scorer, make, arguments.workers)
        differing = check(scorer, counts)
        engine = scorer.engine
        origin = Origin(
            SCHEMA,
            arguments.network,
            arguments.seed,
            layer,
            batches,
            scorer.num_images,
            arguments.deepest,
            engine.graph.group(layer).weights_NM(engine.weights).float().tolist(),
            rated,
            raprune.__version__,
            f"python -m benchmarks.optimum {' '.join(sys.argv[1:])}",
            f"{device_name(engine.device)}, torch {torch.__version__}",
        )
        file = write_table(arguments.out, ScoreTable(origin, counts.numpy().astype(np.uint16)))
        print(
            f"{file.name}: {file.stat().st_size / 1000:.0f} kB, {int((counts > 0).sum())} masks within "
            f"{arguments.deepest:g} points, {time.perf_counter() - began:.0f} s; of {CHECKED} scored again by the "
            f"engine, {differing} differ",
            flush=True,
        )


def rate(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    for table in read_tables(arguments.tables):
        origin = table.origin
        workload = workload_of(origin.network, origin.seed, origin.recalibration_batches, arguments.baselines)
        scorer = Scorer(workload, origin.layer, "cpu", origin.deepest)
        if differing := check(scorer, torch.from_numpy(table.correct.astype(np.int64))):
            print(
                f"{table.name}: left as it is, as this baseline is another one ({differing} of {CHECKED} masks differ)"
            )
            continue
        rated = replace(origin, importance={**origin.importance, **importance(scorer)})
        print(f"{write_table(arguments.tables, replace(table, origin=rated)).name}: {', '.join(rated.importance)}")


def run_race(arguments: argparse.Namespace) -> None:
    tables = [table for table in read_tables(arguments.tables) if arguments.only in table.name]
    if not tables:
        raise SystemExit(f"{arguments.tables} has no table whose name contains {arguments.only!r}")
    racers = [racer(text, arguments.draws) for text in arguments.racers or RACERS.split()]
    found = []
    for regrets in race(racers, tables, arguments.bounds, arguments.limits):
        found.append(regrets)
        print(summary(regrets).splitlines()[-1], flush=True)
    regrets = pd.concat(found)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    regrets.to_parquet(arguments.out)
    cases = regrets[["table", "drop_bound"]].drop_duplicates()
    print(f"\nfilters above the optimum, {len(cases)} cases, by candidates:\n{summary(regrets)}")


def check(scorer: Scorer, counts: torch.Tensor) -> int:
    """How many of a sample of masks the engine scores otherwise."""
    alive, lost = (part.flatten().tolist() for part in ((counts > 0).nonzero(), (counts[1:] == 0).nonzero() + 1))
    draw = random.Random(0)
    rows = [row for part in (alive, lost) for row in draw.sample(part, min(len(part), CHECKED // 2))]
    return scorer.differing(rows, counts[rows].tolist())


def importance(scorer: Scorer, only: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Of every filter to every criterion, or to those named, as the engine computes it."""
    found = {}
    for plugin in METHODS:
        is_criterion = isinstance(plugin.make, type) and issubclass(plugin.make, Criterion)
        if is_criterion and (only is None or plugin.name in only):
            task = Importance(scorer.layer, METHODS.build(plugin.name, {}))
            try:
                found[plugin.name] = task.run(scorer.engine, scorer.state)
            except (InputError, RuntimeError) as error:
                print(f"{plugin.name} cannot rate {scorer.layer}: {error}", flush=True)
    return found


if __name__ == "__main__":
    main()
