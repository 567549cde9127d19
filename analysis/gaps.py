"""By how much less a searched trial's choice loses than a matched trial's, layer by layer, before any fine-tune.

The gap of a layer is the searched trial's score as cut minus the matched trial's: both kept as many filters of it, so
only the choice differs (and the earlier layers, each trial's own). Pairs of one baseline are averaged first. Intervals
come from the baselines alone: they are what was repeated independently.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from raprune.results import Tables, interval

from .frames import measured_trials, with_trial
from .labels import ALONE, bound_text

LAYER = ["layer_index", "layer"]


def paired_layers(tables: Tables) -> pd.DataFrame:
    """A row for each matched trial and layer that it cut: setting, like, method, baseline_key, layer_index, layer, gap.

    ``gap`` is in points of the score, positive where the searched trial's choice is the better one; ``like`` is the
    searched trial's method.
    """
    trials = measured_trials(tables)
    trials = trials.assign(setting=_settings(trials))
    searched = trials[~trials["matched"]].set_index("trial_id")["method"].to_dict()
    cut = tables.layers[tables.layers["num_kept"] < tables.layers["num_filters"]]
    scores = {(name, layer): score for name, layer, score in cut[["trial_id", "layer", "cut_val_score"]].values}
    pairs = trials[trials["matched"] & trials["matched_trial_id"].isin(searched)]
    pairs = with_trial(cut, pairs, ["matched_trial_id", "setting", "method", "score_name", "unit", "baseline_key"])
    theirs = [scores.get(key) for key in zip(pairs["matched_trial_id"], pairs["layer"], strict=True)]
    pairs = pairs.assign(
        like=[searched[name] for name in pairs["matched_trial_id"]],
        gap=pd.Series(theirs, index=pairs.index, dtype=float) - pairs["cut_val_score"],
    )
    return pairs[pairs["gap"].notna()].reset_index(drop=True)


def mean_gaps(pairs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """For each value of ``keys``: the mean gap over layers, then baselines, with its 95% interval.

    ``lowest`` and ``highest`` are NaN for a single baseline. Also num_baselines, num_layers (different ones) and
    ``trial_id``, the first matched trial.
    """
    columns = [*keys, "gap", "lowest", "highest", "num_baselines", "num_layers", "trial_id"]
    own = [*dict.fromkeys([*keys, "baseline_key", *LAYER])]
    by_layer = pairs.groupby(own, sort=False)["gap"].mean().reset_index()
    by_baseline = by_layer.groupby([*keys, "baseline_key"], sort=False)["gap"].mean().reset_index()
    parts = {names: part for names, part in pairs.groupby(list(keys), sort=False)}
    rows = []
    for names, part in by_baseline.groupby(list(keys), sort=False):
        gaps = part["gap"].to_numpy(dtype=float)
        of = parts[names]
        row = [gaps.mean(), *interval(gaps), len(gaps), of["layer"].nunique(), of["trial_id"].iloc[0]]
        rows.append([*names, *row])
    return pd.DataFrame(rows, columns=columns)


def _settings(trials: pd.DataFrame) -> list[str]:
    """Bound, order and what else differs between trials, a line each; of single layers, that each is alone."""
    rows = trials[["bound", "order", "context", "scope", "single"]].itertuples(index=False)
    settings = []
    for bound, order, context, scope, single in rows:
        where = scope if not single else "" if ALONE in context else ALONE
        settings.append("\n".join(filter(None, (bound_text(bound), "" if single else order, context, where))))
    return settings
