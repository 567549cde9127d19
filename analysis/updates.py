"""A quantity of the agents' updates, one small panel a layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from .frames import completed_trials, in_order, with_trial
from .style import bound_colours, new_figure, tidy

COLUMNS = 5
LINES = ("-", "--", ":", "-.")


def by_update(tables: Tables, quantity: str) -> pd.DataFrame:
    """Layer (low to high), bound, order, update and ``value``: the mean over the study's other axes."""
    trials = completed_trials(tables)
    updates = with_trial(tables.updates, trials, ["order", "bound"])
    places = tables.layers[["layer", "layer_index"]].drop_duplicates("layer")
    frame = updates.merge(places, on="layer").rename(columns={quantity: "value"})
    keys = ["layer_index", "layer", "bound", "order", "update"]
    return frame.groupby(keys, sort=True)["value"].mean().reset_index()


def draw_updates(frame: pd.DataFrame, ylabel: str, zero_line: bool) -> Figure:
    """A grid of layers; colours tell the bound, line styles the order."""
    layers = in_order(frame["layer"])
    orders = in_order(frame["order"])
    colours = bound_colours(frame["bound"].unique())
    rows = -(-len(layers) // COLUMNS)
    figure = new_figure(12, 0.8 + 2.0 * rows)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number >= len(layers):
            axes.set_visible(False)
            continue
        part = frame[frame["layer"] == layers[number]]
        for (bound, order), line in part.groupby(["bound", "order"], sort=False):
            style = LINES[orders.index(order) % len(LINES)]
            label = f"bound {bound:g}, {order}"
            axes.plot(line["update"], line["value"], color=colours[bound], linestyle=style, linewidth=1.2, label=label)
        axes.set_title(f"{number + 1}: {layers[number]}", fontsize=8)
        if zero_line:
            axes.axhline(0, color="#57606a", linewidth=0.6)
        tidy(axes)
    figure.supxlabel("update", fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
