"""Whether the choice of filters was worth its candidates: one sentence at the same ratios, one within the same bound.

A difference counts as shown where its 95% interval over baselines leaves out zero. Pairs of one baseline are averaged
first (:mod:`analysis.gaps`).
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from raprune.results import Tables

from .frames import completed_trials, whole_networks
from .gaps import interval, mean_gaps, paired_layers
from .labels import NO_BOUND, in_order
from .marks import number

REFERENCES = ("magnitude", "random")
"""What other methods are compared with, within the same bound."""
PAIR = ["like", "method", "unit"]
SAME = ["study", "context", "scope", "bound", "order"]


def verdicts(tables: Tables) -> list[dict[str, Any]]:
    """``verdict`` entries of the answer, about ``matched`` and ``unmatched`` comparisons; none without pairs.

    ``gap`` is positive where ``of`` is the better one: in points of the score as cut (``matched``), or in points of the
    multiply-adds removed (``unmatched``). ``end`` is the same of the score at the end; ``None`` where there is none.
    """
    return [*_matched(tables), *_unmatched(tables)]


def _matched(tables: Tables) -> list[dict[str, Any]]:
    gaps, ends = mean_gaps(paired_layers(tables), PAIR), _ends(tables)
    return [
        _entry("matched", row["like"], row["method"], row["unit"], row, ends.get(tuple(row[name] for name in PAIR)))
        for row in gaps.to_dict("records")
    ]


def _ends(tables: Tables) -> dict[tuple[str, ...], dict[str, Any] | None]:
    """``PAIR`` -> by how much more the searched trials score at the end than the trials matched to them."""
    trials = whole_networks(completed_trials(tables))
    searched = trials[~trials["matched"]].set_index("trial_id")
    pairs = trials[trials["matched"] & trials["matched_trial_id"].isin(searched.index)]
    own = searched.loc[pairs["matched_trial_id"]]
    gaps = own["val_score"].to_numpy(dtype=float) - pairs["val_score"].astype(float)
    pairs = pairs.assign(like=own["method"].to_numpy(), gap=gaps)
    parts = pairs.groupby(PAIR, sort=False)
    return {names: _difference(part.set_index("baseline_key")["gap"]) for names, part in parts}


def _unmatched(tables: Tables) -> list[dict[str, Any]]:
    trials = whole_networks(completed_trials(tables))
    own = trials[~trials["matched"] & (trials["bound"] != NO_BOUND)]
    own = own.assign(macs_removed=100 * (1 - own["macs"].astype(float) / own["baseline_macs"].astype(float)))
    means = own.groupby([*SAME, "baseline_key", "method"], sort=False, dropna=False)["macs_removed"].mean().unstack()
    methods = in_order(own["method"])
    found = []
    for reference in (name for name in methods if _plain(name) in REFERENCES):
        for method in (name for name in methods if _plain(name) not in REFERENCES):
            if (row := _difference(means[method] - means[reference])) is not None:
                found.append(_entry("unmatched", method, reference, "points", row))
    return found


def _plain(method: str) -> str:
    """The plug-in's name of a method's label."""
    return re.split(r"[ ,(]", method)[0]


def _difference(differences: pd.Series) -> dict[str, Any] | None:
    """Mean over baselines of their mean difference, with its interval."""
    by_baseline = differences.dropna().groupby("baseline_key", dropna=False).mean().to_numpy(dtype=float)
    if not len(by_baseline):
        return None
    low, high = interval(by_baseline)
    return {"gap": by_baseline.mean(), "lowest": low, "highest": high, "num_baselines": len(by_baseline)}


def _entry(
    about: str, of: str, against: str, unit: str, row: dict[str, Any], end: dict[str, Any] | None = None
) -> dict[str, Any]:
    said = {"about": about, "of": of, "against": against, "unit": unit}
    return {"kind": "verdict", **said, **_numbers(row), "end": end and _numbers(end)}


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    shown = bool(row["lowest"] > 0 or row["highest"] < 0)
    return {"shown": shown, **{name: number(row[name]) for name in ("gap", "lowest", "highest", "num_baselines")}}
