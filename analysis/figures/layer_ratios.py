"""Pruning ratio of every layer by drop bound."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..frames import completed_trials, in_order, with_trial
from ..style import bound_colours, new_figure, tidy

PLACE = 2
TITLE = "Which layers are redundant"
CAPTION = (
    "Share of each layer's filters pruned, layers from the input (left) to the output, one line a drop bound; "
    "the mean over seeds where there are several. Matched trials are left out: they have the agent's ratios."
)


def select(tables: Tables) -> pd.DataFrame:
    """Method, order, bound, layer, layer_index, pruning_ratio: the mean over the study's other axes."""
    trials = completed_trials(tables)
    layers = with_trial(tables.layers, trials[~trials["matched"]], ["method", "order", "bound"])
    keys = ["method", "order", "bound", "layer_index", "layer"]
    return layers.groupby(keys, sort=False)["pruning_ratio"].mean().reset_index().sort_values(keys, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """A row for each order, a column for each method."""
    methods, orders = in_order(frame["method"]), in_order(frame["order"])
    colours = bound_colours(frame["bound"].unique())
    figure = new_figure(1 + 3.6 * len(methods), 0.8 + 2.4 * len(orders))
    panels = figure.subplots(len(orders), len(methods), sharex=True, sharey=True, squeeze=False)
    for row, order in enumerate(orders):
        for column, method in enumerate(methods):
            axes = panels[row][column]
            part = frame[(frame["method"] == method) & (frame["order"] == order)]
            for bound, line in part.groupby("bound"):
                axes.plot(
                    line["layer_index"] + 1,
                    100 * line["pruning_ratio"],
                    marker="o",
                    markersize=3.5,
                    color=colours[bound],
                    label=f"drop bound {bound:g}",
                )
            axes.set_title(f"{method}, {order}")
            axes.set_ylim(0, 100)
            tidy(axes)
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    for row_panels in panels:
        row_panels[0].set_ylabel("filters pruned (%)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(colours))
    return figure
