"""A study of ten million candidate rows, written and read: ``python -m benchmarks.many_rows``, about fifteen minutes.

The rows are made up; raprune's own writer writes them, a layer at a time as a trial does. Each command that reads a
study then runs in a process of its own. Printed are its seconds and its peak memory (resident set). A study that is in
``--out`` already is only read.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from raprune.results import TrialStore, write_json
from tests.analysis.make_tables import STUDY, candidate_row, layer_row, manifest, trial_row, update_row

Row = dict[str, Any]
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Filters of a VGG-16's convolutions."""
BOUNDS, ORDERS, METHODS = (0.5, 1.0, 2.0, 3.0, 4.0), ("low_to_high", "by_sensitivity"), ("agent", "magnitude")
MASKS_PER_UPDATE = 5
NUM_MASKS = 50
"""Distinct keep masks of a layer."""
START, CANDIDATE_S, AT_ONCE = 1.7e9, 1.3, 39
"""When the first trial begins (s since 1970), what one of its candidates takes, and the trials that run at once."""
COMMANDS: dict[str, Sequence[str]] = {
    "report": ("report", "{out}"),
    "report with CSV, SVG and PNG": ("report", "{out}", "--format", "csv,svg,png"),
    "ls": ("ls", "{out}"),
    "compare": ("compare", "{out}", "--a", "method=agent", "--b", "method=magnitude"),
    "watch --once": ("watch", "{out}", "--once"),
}


def trials_of(number: int) -> list[Row]:
    """Rows of ``number`` trials: a grid of bounds, orders and methods over as many seeds as it takes."""
    settings = list(itertools.product(BOUNDS, ORDERS, METHODS))
    return [
        trial_row(
            f"{place:012x}",
            seed=seed,
            baseline_key=f"b{seed % 5}",
            drop_bound=bound,
            order=order,
            method=method,
            pruning_ratio=0.4 + 0.05 * bound + 0.01 * (seed % 7),
            val_score_drop=0.4 * bound,
            macs=4000 - int(300 * bound) - seed % 11,
        )
        for place in range(number)
        for seed, (bound, order, method) in [(place // len(settings), settings[place % len(settings)])]
    ]


def masks_of(num_filters: int) -> list[list[bool]]:
    """Keep masks of a layer, each of other filters."""
    return [[(filter_ * 7 + mask * 13) % 50 >= mask for filter_ in range(num_filters)] for mask in range(NUM_MASKS)]


def layers_of(trial: Row, candidates: int) -> Iterator[tuple[Row, list[Row], list[Row]]]:
    """Each layer's row, and those of its updates and candidates."""
    began = START + int(trial["trial_id"], 16) * CANDIDATE_S * candidates * len(WIDTHS) / AT_ONCE
    for index, width in enumerate(WIDTHS):
        name, masks = f"features.{index}", masks_of(width)
        updates = 100 if trial["method"] == "agent" else 0
        shared = {"layer": name, "num_filters": width, "num_kept": width // 2, "keep_mask": masks[25]}
        layer = layer_row(trial["trial_id"], 0, **shared, layer_index=index, prune_step=index, num_updates=updates)
        own: Row = {"pruning_ratio": 0.5, "filter_shape": [1, 3, 3], "filter_norms": [i + 0.5 for i in range(width)]}
        own |= {"filter_places": list(range(width)), "keep_probs": [0.5] * width if updates else None}
        yield (
            layer | own,
            [update_row(trial["trial_id"], name, update) for update in range(updates)],
            [
                candidate_row(
                    trial["trial_id"],
                    name,
                    number % MASKS_PER_UPDATE,
                    update=number // MASKS_PER_UPDATE if number < updates * MASKS_PER_UPDATE else None,
                    keep_mask=masks[number % NUM_MASKS],
                    score=98.0 - number % 97 / 50,
                    evaluator=f"evaluator-{number % 64}",
                    scored_at=began + CANDIDATE_S * (candidates * index + number),
                )
                for number in range(candidates)
            ],
        )


def write(out: Path, rows: int, trials: int) -> int:
    """Write the study; returns how many candidate rows it has."""
    planned = trials_of(trials)
    each = -(-rows // (trials * len(WIDTHS)))
    for trial in planned:
        store = TrialStore(out, STUDY, trial["trial_id"])
        for layer, updates, candidates in layers_of(trial, each):
            store.write_layer(layer["prune_step"], _own(layer), _rows(updates), _rows(candidates))
        store.write_trial(_own(trial | {"num_candidates": each * len(WIDTHS)}))
    write_json(out / "manifest.json", manifest(planned, axes=dict(map(_axes, planned))))
    return each * trials * len(WIDTHS)


def _axes(trial: Row) -> tuple[str, dict[str, str]]:
    return trial["trial_id"], {axis: str(trial[axis]) for axis in ("drop_bound", "order", "method", "seed")}


def _rows(rows: Sequence[Row]) -> list[Row]:
    return [_own(row) for row in rows]


def _own(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}


def measured(arguments: Sequence[str]) -> tuple[float, float]:
    """Processor seconds and peak memory, in MB, of a process of Python. Raises :class:`SystemExit` if it fails."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where to write the study, or read it [default: a temporary folder]")
    parser.add_argument("--rows", type=int, default=10_000_000, help="candidate rows [default: 10,000,000]")
    parser.add_argument("--trials", type=int, default=1000, help="trials that they belong to [default: 1000]")
    parser.add_argument("--only-write", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_write:
        print(f"{write(given.out, given.rows, given.trials):,} rows")
        return
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch) / STUDY
        if not (out / "manifest.json").exists():
            own = ["--only-write", "--out", str(out), "--rows", str(given.rows), "--trials", str(given.trials)]
            show(f"write {given.rows:,} rows", *measured(["-m", "benchmarks.many_rows", *own]))
        for name, command in COMMANDS.items():
            words = [word.format(out=out) for word in command]
            show(name, *measured(["-c", "from raprune.cli import main; main()", *words]))
        print(f"page of the report: {(out / 'report' / 'index.html').stat().st_size / 1e6:.2f} MB")


def show(what: str, seconds: float, megabytes: float) -> None:
    print(f"{what:32s}{seconds:8.1f} s{megabytes:9.0f} MB", flush=True)


if __name__ == "__main__":
    main()
