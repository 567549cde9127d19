"""The answer at the top of the report: for each drop bound the best trial, what it removes, what it costs.

The best trial removes most multiply-adds within the bound on validation and guard images. Test images choose nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raprune.results import Tables, allow_options, candidates_in_all

from .answer_words import in_html
from .frames import completed_trials, whole_networks, with_candidates
from .gaps import interval
from .labels import NO_BOUND, describe, in_bound_order, text
from .marks import number
from .trials_table import WITHIN, trial_name
from .verdicts import verdicts

Entry = dict[str, Any]
KEYS = ["study", "context", "scope", "bound"]
"""What has an answer of its own: everything else that differs is a choice, of which the best is taken."""
SPLITS = {"validation": "val_score_drop", "guard": "guard_score_drop", "test": "test_score_drop"}


def answer(tables: Tables, homes: Mapping[str, Path] | None = None) -> list[Entry]:
    """Plain data: an entry of kind ``bound`` for each bound, then ``verdict`` and ``spent``; or a single ``none``.

    ``homes`` are the folders of trials, for the commands; by default the study's own under ``results/``.
    """
    done = completed_trials(tables)
    if done.empty:
        return [{"kind": "none", "text": _nothing(tables)}]
    entries = _bounds(tables, with_candidates(whole_networks(done)), homes or {})
    if not entries:
        entries = [{"kind": "none", "text": _no_bound(done)}]
    return [*entries, *verdicts(tables), _spent(tables)]


def answer_html(tables: Tables, homes: Mapping[str, Path] | None = None) -> str:
    """The answer as HTML, all of it escaped; needs no script."""
    return in_html(answer(tables, homes))


def _nothing(tables: Tables) -> str:
    counts = {status: int((tables.trials["status"] == status).sum()) for status in ("failed", "stopped")}
    waiting = len(tables.manifest["trial_ids"]) - len(tables.trials)
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    parts += [f"{waiting} not ended yet"] if waiting else []
    return f"No trial has completed{': ' if parts else ''}{', '.join(parts)}."


def _no_bound(done: pd.DataFrame) -> str:
    if done["single"].all():
        return "Each trial decides one layer of the whole network, so none of them is a smaller network to take."
    return "No trial has a drop bound of its own, so none is the best within it."


def _bounds(tables: Tables, trials: pd.DataFrame, homes: Mapping[str, Path]) -> list[Entry]:
    own = trials[~trials["matched"] & (trials["bound"] != NO_BOUND)]
    own = own.assign(macs_removed=1 - own["macs"].astype(float) / own["baseline_macs"].astype(float))
    groups = {names: part for names, part in own.groupby(KEYS, sort=False)}
    places = {bound: place for place, bound in enumerate(in_bound_order(own["bound"]))}
    seen = {names[:3]: None for names in groups}
    ordered = sorted(groups, key=lambda names: ([*seen].index(names[:3]), places[names[3]]))
    return [_bound(tables, groups[names], homes) for names in ordered]


def _bound(tables: Tables, part: pd.DataFrame, homes: Mapping[str, Path]) -> Entry:
    first = part.iloc[0]
    within = part[[_within(row) for row in part.to_dict("records")]]
    entry = {
        "kind": "bound",
        "study": first["study"],
        "of": f"{text(first['model'])} on {text(first['dataset'])}",
        "context": " / ".join(filter(None, (first["context"], first["scope"]))),
        "bound": first["bound"],
        "unit": first["unit"],
        "score": first["score_name"],
        "num_trials": len(part),
        "num_within": len(within),
        "best": None,
    }
    if len(within):
        best = within.loc[within["macs_removed"].idxmax()].to_dict()
        home = homes.get(best["trial_id"]) or Path("results") / best["study"] / "trials" / best["trial_id"]
        entry["best"] = _best(tables, best, part, shlex.quote(str(home)))
    return entry


def _within(row: Mapping[str, Any]) -> bool:
    """Within the bound on all that the trial could see."""
    return all(row[SPLITS[split]] <= row["drop_bound"] + WITHIN or pd.isna(row[SPLITS[split]]) for split in SEEN)


SEEN = ("validation", "guard")


def _best(tables: Tables, row: Mapping[str, Any], part: pd.DataFrame, home: str) -> Entry:
    return {
        "trial_id": row["trial_id"],
        "trial": trial_name(row),
        "removed": {
            "multiply-adds": _removed(row["baseline_macs"], row["macs"]),
            "parameters": _removed(row["baseline_params"], row["params"]),
            "filters": _removed(row["num_filters"], row["num_kept"]),
        },
        "times": _times(tables, row["trial_id"]),
        "bench": f"raprune bench {home}{allow_options(row, 'bench')}",
        "lost": {split: _lost(row, column) for split, column in SPLITS.items() if not pd.isna(row[column])},
        "bound": number(row["drop_bound"]),
        "limit": number(row["score_drop_limit"]),
        "candidates": number(row["num_candidates"]),
        "seconds": number(row["wall_time_s"]),
        "evaluators": number(row["evaluators"]),
        "device": text(row["device"]),
        "export": f"raprune export {home} --format pt2 --out small.pt2{allow_options(row, 'export')}",
        "repeated": _repeated(part[(part["method"] == row["method"]) & (part["order"] == row["order"])]),
    }


def _removed(before: float, after: float) -> Entry:
    return {"share": 1 - after / before, "before": number(before), "after": number(after)}


def _lost(row: Mapping[str, Any], column: str) -> Entry:
    score = column.removesuffix("_drop")
    return {
        "drop": number(row[column]),
        "within": bool(row[column] <= row["drop_bound"] + WITHIN),
        "before": number(row[f"baseline_{score}"]),
        "after": number(row[score]),
    }


def _times(tables: Tables, trial_id: str) -> list[Entry]:
    """Measured times of the trial's network against the baseline's, as ``raprune bench`` wrote them."""
    keys = ["device", "threads", "host", "backend", "batch_size"]
    own = tables.speed[tables.speed["trial_id"] == trial_id]
    sides = [own[own["network"] == name] for name in ("baseline", "pruned")]
    pairs = sides[0].merge(sides[1], on=keys, suffixes=("_old", "_new")).sort_values("batch_size", kind="stable")
    return [
        {
            "times_faster": number(pair["median_s_old"] / pair["median_s_new"]),
            "batch_size": number(pair["batch_size"]),
            "backend": pair["backend"],
            "device": pair["device"],
            "threads": number(pair["threads"]),
        }
        for pair in pairs.to_dict("records")
    ]


def _repeated(alike: pd.DataFrame) -> Entry | None:
    """The trial and its repetitions: means over baselines, with 95% intervals; ``None`` for a single trial."""
    if len(alike) < 2:
        return None
    by_baseline = alike.groupby("baseline_key", sort=False, dropna=False)
    found: Entry = {"num_trials": len(alike), "num_baselines": by_baseline.ngroups}
    for column in ("macs_removed", "val_score_drop", "test_score_drop"):
        means = by_baseline[column].mean().dropna().to_numpy(dtype=float)
        ends = interval(means)
        mean = number(means.mean()) if len(means) else None
        found[column] = {"mean": mean, "lowest": number(ends[0]), "highest": number(ends[1])}
    return found


def _spent(tables: Tables) -> Entry:
    """What all trials of the study spent that came to an end."""
    ended = describe(tables.trials)
    rows = ended[ended["val_score"].notna()].to_dict("records")
    asked = [candidates_in_all(row) for row in rows]
    return {
        "kind": "spent",
        "num_trials": len(rows),
        "candidates": number(sum(count for count in asked if not pd.isna(count))),
        "seconds": number(pd.Series([row["wall_time_s"] for row in rows], dtype=float).sum()),
    }
