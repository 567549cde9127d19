"""Whole networks at the same number of filters in every layer: what they lose in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..frames import by_split, completed_trials, over_seeds, whole_networks
from ..labels import bound_text, drop_text, in_bound_order, in_order, score_drop_label
from ..marks import clusters
from ..style import SOFT, method_colours, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 11
TITLE = "The same ratios, chosen differently: at the end"
CAPTION = (
    "Score lost at the end by whole networks with the same number of filters in every layer; lower is better. It "
    "mostly tells of the layer decided last: the figure above compares every layer."
)
BARS_A_ROW = 14
"""With more bars per split than this, the splits are drawn one below the other."""


def select(tables: Tables) -> pd.DataFrame:
    """Split, setting (bound, order and what else differs), method, pruning_ratio, score_drop."""
    trials = whole_networks(completed_trials(tables))
    partner = trials["matched_trial_id"].where(trials["matched"], trials["trial_id"])
    trials = trials.assign(partner=partner)
    trials = trials[trials["partner"].isin(trials.loc[trials["matched"], "partner"])]
    names = trials.loc[~trials["matched"]].set_index("trial_id")["method"].to_dict()
    trials = trials.assign(like=[names.get(trial_id, "unknown") for trial_id in trials["partner"]])
    several = trials["like"].nunique() > 1
    trials = trials.assign(
        setting=[
            "\n".join(filter(None, (bound_text(bound), order, context, scope, f"like {like}" if several else "")))
            for bound, order, context, scope, like in zip(
                *(trials[c] for c in ("bound", "order", "context", "scope", "like")), strict=True
            )
        ]
    )
    places = {bound: place for place, bound in enumerate(in_bound_order(trials["bound"]))}
    trials = trials.sort_values("bound", key=lambda column: column.map(places), kind="stable")
    keys = ["split", "setting", "method", "score_name", "unit"]
    return over_seeds(by_split(trials), keys, "score_drop", "pruning_ratio")


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of the score lost, for each split."""
    colours = method_colours(in_order(frame["method"]))
    notes = (100 * frame["pruning_ratio"]).map("{:.0f}% of the filters pruned".format)
    frame = frame.assign(value=frame["score_drop"], note=notes)
    return [
        Bars(split, score_drop_label(part), clusters(part, "setting", "method", colours))
        for split, part in frame.groupby("split", sort=False)
    ]


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each split, a cluster for each setting."""
    splits = in_order(frame["split"])
    colours = method_colours(in_order(frame["method"]))
    ratios = (100 * frame["pruning_ratio"]).map("{:.0f}%".format)
    frame = frame.assign(value=frame["score_drop"], text=frame["score_drop"].map(drop_text) + "\n" + ratios)
    bars = len(frame) / len(splits)
    stacked = bars > BARS_A_ROW
    rows, columns = (len(splits), 1) if stacked else (1, len(splits))
    width = min(16.0, max(4.5, 1 + 0.42 * bars))
    figure = new_figure(0.6 + width * columns, 0.8 + 3.2 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, split in zip(panels.flat, splits, strict=True):
        grouped_bars(axes, frame[frame["split"] == split], "setting", "method", colours)
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.set_title(split)
    for row in panels:
        row[0].set_ylabel(score_drop_label(frame))
    bar_legend(figure, colours)
    return figure
