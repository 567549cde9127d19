"""Which networks the page runs: a baseline, and for each of a few drop bounds the best trial pruned from it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from raprune.errors import RapruneError
from raprune.results import read_page_copy

from .frames import measured_trials
from .labels import in_bound_order
from .studies import Report
from .trials_table import over_bound

Row = Mapping[Any, Any]
Copy = Mapping[str, Any]
PAGE_BYTES = 200_000
"""Of all copies in the page, by gzip; the page holds a third more, in base64."""
MOST_BOUNDS = 3


@dataclass(frozen=True)
class Copies:
    """Networks that the page runs."""

    baseline: Copy
    pruned: Sequence[tuple[Row, Copy]]
    """Trials and their copies, the tightest bound first."""
    remarks: Sequence[str] = ()
    """What is left out, and why."""


@dataclass
class _Folders:
    """Reads copies, each once; a damaged one counts as missing and is remembered."""

    report: Report
    damaged: list[str] = field(default_factory=list)
    known: dict[Path, Copy | None] = field(default_factory=dict)

    def baseline(self, row: Row) -> Copy | None:
        return self._read(self.report.homes[row["trial_id"]].parents[1] / "baselines" / str(row["baseline_key"]))

    def pruned(self, row: Row) -> Copy | None:
        """The copy of a trial's network, if it fits the baseline's."""
        copy, baseline = self._read(self.report.homes[row["trial_id"]] / "model"), self.baseline(row)
        if copy is None or baseline is None or any(copy[key] != baseline[key] for key in _SHARED):
            return None
        return copy if _filters(copy) == _filters(baseline) else None

    def _read(self, folder: Path) -> Copy | None:
        if folder not in self.known:
            try:
                self.known[folder] = read_page_copy(folder)
            except RapruneError as error:
                self.known[folder] = None
                self.damaged.append(str(error))
        return self.known[folder]


_SHARED = ("baseline", "input_shape", "mean", "std", "class_names", "drawn", "split", "num_images")


def _filters(copy: Copy) -> list[tuple[str, int]]:
    return [(step["layer"], step["num_filters"]) for step in copy["steps"] if step["op"] == "conv"]


def find_copies(report: Report) -> tuple[Copies | None, Sequence[str]]:
    """The networks of the baseline that has the most bounds, and the sentences about damaged files."""
    trials = measured_trials(report.tables)
    within = trials[trials["drop_bound"].notna() & ~trials["matched"]].sort_values("macs", kind="stable")
    rows = [row for row in within.to_dict("records") if not over_bound(row)]
    folders = _Folders(report)
    best: dict[tuple[Path, str], dict[str, Row]] = {}
    for row in rows:
        place = report.homes[row["trial_id"]].parents[1], str(row["baseline_key"])
        if row["bound"] not in best.setdefault(place, {}) and folders.pruned(row) is not None:
            best[place][row["bound"]] = row
    most = max(best.values(), key=len, default={})
    return (_fitting(most, folders) if most else None), folders.damaged


def _fitting(by_bound: Mapping[str, Row], folders: _Folders) -> Copies | None:
    """The copies of at most a few bounds that fit into the page: the loosest bound first."""
    bounds = in_bound_order(by_bound)
    spread = bounds if len(bounds) <= MOST_BOUNDS else [bounds[0], bounds[len(bounds) // 2], bounds[-1]]
    baseline = folders.baseline(by_bound[bounds[-1]])
    assert baseline is not None
    left = PAGE_BYTES - packed_bytes(baseline)
    taken: dict[str, tuple[Row, Copy]] = {}
    for bound in reversed(spread):
        copy = folders.pruned(by_bound[bound])
        assert copy is not None
        if (size := packed_bytes(copy)) <= left:
            taken[bound] = by_bound[bound], copy
            left -= size
    omitted = [bound for bound in bounds if bound not in taken]
    remarks = [f"Left out, so that the page stays small: the bound{'s' * (len(omitted) > 1)} {', '.join(omitted)}."]
    return Copies(baseline, [taken[b] for b in bounds if b in taken], remarks if omitted else ()) if taken else None


def packed_bytes(copy: Copy) -> int:
    """Bytes of a copy as gzip has it."""
    return len(gzip.compress(json.dumps(copy["steps"], separators=(",", ":")).encode(), 9))


def removed(row: Row, part: str) -> float:
    """The share of ``params`` or ``macs`` that a trial removed."""
    return 0.0 if pd.isna(row[part]) else 1 - row[part] / row[f"baseline_{part}"]
