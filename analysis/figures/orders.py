"""Layer orders side by side: what each prunes under the same bound."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..bars import grouped_bars
from ..frames import completed_trials, in_order
from ..style import BOUND_COLOURS, new_figure

PLACE = 3
TITLE = "Does the order of the layers matter"
CAPTION = (
    "Share of filters pruned within the drop bound, by the order in which the layers were decided; on each bar the "
    "points of test score lost (of validation score where there is no test split). Mean over seeds."
)


def select(tables: Tables) -> pd.DataFrame:
    """Method, bound, order, pruning_ratio, score_drop; empty where the study has one order only."""
    trials = completed_trials(tables)
    trials = trials[~trials["matched"]]
    if trials["order"].nunique() < 2:
        return trials.iloc[0:0]
    trials = trials.assign(score_drop=trials["test_score_drop"].fillna(trials["val_score_drop"]))
    keys = ["bound", "method", "order"]
    return trials.groupby(keys, sort=False)[["pruning_ratio", "score_drop"]].mean().reset_index()


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each bound, a cluster for each method."""
    bounds, orders = sorted(frame["bound"].unique()), in_order(frame["order"])
    colours = {order: BOUND_COLOURS[(1 + 2 * i) % len(BOUND_COLOURS)] for i, order in enumerate(orders)}
    figure = new_figure(1 + 4.4 * len(bounds), 3.6)
    panels = figure.subplots(1, len(bounds), sharey=True, squeeze=False)[0]
    for axes, bound in zip(panels, bounds, strict=True):
        part = frame[frame["bound"] == bound]
        part = part.assign(value=100 * part["pruning_ratio"], text=part["score_drop"].map("{:+.1f}".format))
        grouped_bars(axes, part, "method", "order", "value", "text", colours)
        axes.set_title(f"drop bound {bound:g}")
    panels[0].set_ylabel("filters pruned (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(orders))
    return figure
