"""Agent, magnitude and random at the same number of filters in every layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..bars import grouped_bars
from ..frames import completed_trials, in_order
from ..style import method_colour, new_figure

PLACE = 6
TITLE = "The same ratios, chosen differently"
CAPTION = (
    "Score lost when magnitude and random prune the agent's number of filters in every layer, with the same committed "
    "fine-tunes; on each bar the share of filters pruned. Lower is better. Mean over seeds."
)


def select(tables: Tables) -> pd.DataFrame:
    """Setting (bound and order), method, split, pruning_ratio, score_drop."""
    trials = completed_trials(tables)
    partners = set(trials["matched_trial_id"].dropna())
    trials = trials[trials["matched"] | trials["trial_id"].isin(partners)]
    trials = trials.sort_values(["bound", "order", "matched"], kind="stable")
    trials = trials.assign(setting=trials["bound"].map("bound {:g}\n".format) + trials["order"])
    parts = []
    for column, split in (("val_score_drop", "validation"), ("test_score_drop", "test")):
        part = trials.assign(split=split, score_drop=trials[column])
        parts.append(part[part["score_drop"].notna()])
    frame = pd.concat(parts)
    keys = ["split", "setting", "method"]
    return frame.groupby(keys, sort=False)[["pruning_ratio", "score_drop"]].mean().reset_index()


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each split, a cluster for each setting."""
    splits, methods = in_order(frame["split"]), in_order(frame["method"])
    colours = {method: method_colour(method, methods) for method in methods}
    figure = new_figure(1.5 + 5 * len(splits), 3.8)
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        part = frame[frame["split"] == split]
        part = part.assign(text=(100 * part["pruning_ratio"]).map("{:.0f}%".format))
        grouped_bars(axes, part, "setting", "method", "score_drop", "text", colours)
        axes.axhline(0, color="#57606a", linewidth=0.8)
        axes.set_title(split)
    panels[0].set_ylabel("score drop (points)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    return figure
