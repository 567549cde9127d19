"""What the figures share: completed trials with the bound that applies to them, and layers in their order."""

from __future__ import annotations

import pandas as pd

from raprune.results import Tables


def completed_trials(tables: Tables) -> pd.DataFrame:
    """Completed trials, with ``bound`` (a matched trial has its partner's), ``matched`` and ``label``."""
    trials = tables.trials[tables.trials["status"] == "completed"].copy()
    own = tables.trials.set_index("trial_id")["drop_bound"]
    trials["matched"] = trials["matched_trial_id"].notna()
    trials["bound"] = trials["drop_bound"].where(~trials["matched"], trials["matched_trial_id"].map(own))
    trials["label"] = trials["method"] + trials["matched"].map({True: " (matched)", False: ""})
    return trials


def with_trial(frame: pd.DataFrame, trials: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows of a finer table with columns of their trial; rows of other trials are left out."""
    return frame.drop(columns="study").merge(trials[["trial_id", *columns]], on="trial_id", how="inner")


def in_order(values: pd.Series) -> list[str]:
    """Distinct values as they first appear."""
    return list(dict.fromkeys(values))
