"""Repetitions that repeat nothing: trials of other seeds with the same network, cut and scored alike.

A method that draws nothing gives the same rows for every seed if the seeds share baseline, data and fine-tuning. Such
rows are one observation, so figures count them once.
"""

from __future__ import annotations

import pandas as pd

from raprune.results import COST_COLUMNS, SCHEMAS, Tables

from .labels import in_order

_NAMES = ("trial_id", "seed", "data_seed", "matched_trial_id", "error")
"""Columns in which repetitions differ by their nature."""


def each_once(trials: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Without identical repetitions; a trial matched to one of them is matched to the first of its kind instead."""
    first = _first_of_each(trials, layers)
    partner = trials["matched_trial_id"].map(lambda name: first.get(name, name), na_action="ignore")
    kept = trials["trial_id"].isin(set(first.values()))
    return trials.assign(matched_trial_id=partner)[kept].reset_index(drop=True)


def repeats_line(tables: Tables) -> str:
    """Which trials are identical repetitions, for the page; empty where none is."""
    trials = tables.trials[tables.trials["status"] == "completed"]
    first = _first_of_each(trials, tables.layers)
    again = {name: of for name, of in first.items() if name != of}
    alike = trials[trials["trial_id"].isin({*again, *again.values()})]
    if alike.empty:
        return ""
    methods, seeds = in_order(alike["method"]), sorted(set(alike["seed"]))
    return (
        f"Seeds {', '.join(map(str, seeds))} give identical rows of {', '.join(methods)}: nothing that those depend on "
        "differs between the seeds. Figures count such rows once."
    )


def _first_of_each(trials: pd.DataFrame, layers: pd.DataFrame) -> dict[str, str]:
    """Trial -> the first one with the same results; itself where no earlier trial has them."""
    columns = [c for c in SCHEMAS["trial"].names if c not in (*_NAMES, *COST_COLUMNS["trial"])]
    decided = layers.sort_values("prune_step", kind="stable")
    masks: dict[str, list[tuple[str, bytes]]] = {}
    for name, layer, mask in zip(decided["trial_id"], decided["layer"], decided["keep_mask"], strict=True):
        masks.setdefault(name, []).append((layer, bytes(mask)))
    found = trials[columns].astype(object).where(trials[columns].notna(), None)
    known: dict[tuple[object, ...], str] = {}
    return {
        name: known.setdefault((*row, tuple(masks.get(name, ()))), name)
        for name, row in zip(trials["trial_id"], found.itertuples(index=False, name=None), strict=True)
    }
