"""What figures share: completed trials, their rows in the finer tables, means over seeds."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pandas as pd

from raprune.results import Tables, candidates_in_all, short_count

from .labels import describe, varying
from .repeats import each_once

SPLITS = {"val_score_drop": "validation", "test_score_drop": "test"}


_COMPLETED: dict[int, tuple[weakref.ref[Tables], pd.DataFrame]] = {}


def completed_trials(tables: Tables) -> pd.DataFrame:
    """Completed trials in the study's order, identical repetitions once, labelled by :func:`describe`.

    Nearly every part of a page asks for them: they are found once for each set of tables, whose frames nothing changes.
    """
    key = id(tables)
    known, found = _COMPLETED.get(key, (None, None))
    if found is None or known is None or known() is not tables:
        found = each_once(measured_trials(tables), tables.layers)
        _COMPLETED[key] = weakref.ref(tables, lambda _: _COMPLETED.pop(key, None)), found
    return found.copy()


def measured_trials(tables: Tables) -> pd.DataFrame:
    """As :func:`completed_trials`, with repetitions: for what is measured on each trial's network, such as times.

    ``order`` is empty where all trials have the same: labels say what differs, and the table of trials has it.
    """
    trials = describe(tables.trials)
    trials = trials.assign(order=varying(list(trials["order"])))
    return trials[trials["status"] == "completed"].reset_index(drop=True)


def whole_networks(trials: pd.DataFrame) -> pd.DataFrame:
    """Without the trials that decide one layer each: their ratios are a layer's, not a network's."""
    return trials[~trials["single"]].reset_index(drop=True)


def first_of_each_bound(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first trial of each context and bound, the agent's if there is one; of many, the outer and middle ones."""
    last = [
        (bool(matched), not method.startswith("agent"))
        for matched, method in zip(trials["matched"], trials["method"], strict=True)
    ]
    trials = trials.assign(last=last).sort_values("last", kind="stable")
    firsts = trials.drop_duplicates(["context", "bound"]).sort_index()
    return firsts.iloc[np.linspace(0, len(firsts) - 1, most).astype(int)] if len(firsts) > most else firsts


def with_trial(frame: pd.DataFrame, trials: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of a finer table with columns of their trial; rows of other trials are left out."""
    return frame.drop(columns="study").merge(trials[["trial_id", *columns]], on="trial_id", how="inner")


def by_split(trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each trial and split in which it has a score drop: adds ``split`` and ``score_drop``."""
    parts = [trials.assign(split=split, score_drop=trials[column]) for column, split in SPLITS.items()]
    found = [part[part["score_drop"].notna()] for part in parts]
    return pd.concat(found, ignore_index=True)


def with_candidates(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials whose ``num_candidates`` includes their order's."""
    return trials.assign(num_candidates=[candidates_in_all(row) for row in trials.to_dict("records")])


def asked_by(trials: pd.DataFrame) -> str:
    """Candidates that a trial asked for, ``65 to 2.28k candidates``, by :func:`with_candidates`; matched ones aside."""
    asked = trials.loc[~trials["matched"], "num_candidates"].dropna()
    ends = dict.fromkeys(short_count(number) for number in (asked.min(), asked.max())) if len(asked) else []
    return f"{' to '.join(ends)} candidates" if ends else ""


def over_seeds(frame: pd.DataFrame, keys: Sequence[str], value: str, *means: str) -> pd.DataFrame:
    """Mean, ``lowest`` and ``highest`` of ``value`` and the mean of ``means`` over rows that share ``keys``.

    ``trial_id`` is the first of the ``num_trials`` rows.
    """
    wanted: dict[str, tuple[str, str]] = {column: (column, "mean") for column in (value, *means)}
    wanted |= {"lowest": (value, "min"), "highest": (value, "max"), "num_trials": (value, "size")}
    wanted["trial_id"] = ("trial_id", "first")
    return frame.groupby(list(keys), sort=False).agg(**wanted).reset_index()
