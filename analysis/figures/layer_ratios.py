"""Pruning ratio of every layer by drop bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..charts import Axis, Plot, Series
from ..ends import layers_at_end
from ..frames import completed_trials, with_trial
from ..labels import bounds_label, in_order, joined, short_name, wrapped
from ..style import bound_colours, grouped_legend, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE = 4
TITLE = "Which layers are redundant"
CAPTION = (
    "Share of each layer's filters pruned, with layers from the input (left) to the output and one line per drop "
    "bound. Mean over seeds. Matched trials are left out, because they have their partner's ratios."
)
SIDE_BY_SIDE = 24
"""Up to this many layers, methods stand side by side; with more layers their panels are wide, one below the other."""
NAMED = 64
"""Up to this many layers, the axis names them; more are numbered."""
LONGEST_NAME = 26


def select(tables: Tables) -> pd.DataFrame:
    """Context, order, method, bound, layer_index, layer, pruning_ratio: the mean over seeds."""
    trials = completed_trials(tables)
    contexts = [
        joined(context, "" if single else scope)
        for context, scope, single in zip(trials["context"], trials["scope"], trials["single"], strict=True)
    ]
    trials = trials.assign(context=contexts)
    keys = ["context", "order", "method", "bound", "unit"]
    layers = with_trial(layers_at_end(tables), trials[~trials["matched"]], keys)
    keys += ["layer_index", "layer"]
    means = layers.groupby(keys, sort=False)["pruning_ratio"].mean().reset_index()
    return means.sort_values("layer_index", kind="stable", ignore_index=True)


def charts(frame: pd.DataFrame) -> list[Plot]:
    """A panel for each method, order and context, a line for each bound."""
    colours = bound_colours(list(frame["bound"]))
    heading = bounds_label(frame)
    panels = []
    for (context, order, method), part in frame.groupby(["context", "order", "method"], sort=False):
        names = part.drop_duplicates("layer_index").sort_values("layer_index")
        places = {index: place for place, index in enumerate(names["layer_index"])}
        lines = [
            Series(bound, line["layer_index"].map(places).tolist(), (100 * line["pruning_ratio"]).tolist(),
                   group=heading, colour=colours[bound], look="line")
            for bound, line in part.groupby("bound", sort=False)
        ]  # fmt: skip
        ticks = [f"{index + 1}: {layer}" for index, layer in zip(names["layer_index"], names["layer"], strict=True)]
        y = Axis("filters pruned (%)")
        panels.append(Plot(joined(method, order, context), Axis("layer", ticks=ticks), y, lines))
    return panels


def draw(frame: pd.DataFrame) -> Figure:
    """A row for each order and context, a column for each method; or a row for each of them."""
    from matplotlib.lines import Line2D

    methods = in_order(frame["method"])
    most = int(frame["layer_index"].max()) + 1
    wide = most > SIDE_BY_SIDE
    rows = [
        (context, order, row, [method] if wide else methods)
        for (context, order), row in frame.groupby(["context", "order"], sort=False)
        for method in (in_order(row["method"]) if wide else [""])
    ]
    columns = 1 if wide else len(methods)
    width = min(15.0, 1 + 0.2 * most) if wide else 3.7
    colours = bound_colours(list(frame["bound"]))
    figure = new_figure(max(6.0, 1 + width * columns), 1.7 + 2.1 * len(rows))
    one_network = not frame.groupby("layer_index")["layer"].nunique().gt(1).any()
    panels = figure.subplots(len(rows), columns, sharex=one_network, sharey=True, squeeze=False)
    for (context, order, row, shown), row_panels in zip(rows, panels, strict=True):
        for method, axes in zip(shown, row_panels, strict=True):
            part = row[row["method"] == method]
            axes.set_visible(not part.empty)
            for bound, line in part.groupby("bound", sort=False):
                x, y = line["layer_index"] + 1, 100 * line["pruning_ratio"]
                axes.plot(x, y, marker="o", markersize=3.5, linewidth=1.3, color=colours[bound])
            axes.set_title(wrapped(joined(method, order, context), width))
            axes.set_ylim(-3, 103)
            _name_layers(axes, row)
            tidy(axes)
        row_panels[0].set_ylabel("filters pruned (%)")
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    lines = {bound: Line2D([], [], color=colour, marker="o", markersize=3.5) for bound, colour in colours.items()}
    grouped_legend(figure, {bounds_label(frame): lines})
    return figure


def _name_layers(axes: Axes, row: pd.DataFrame) -> None:
    names = row.drop_duplicates("layer_index").sort_values("layer_index")
    axes.set_xlim(0.4, names["layer_index"].max() + 1.6)
    if len(names) <= NAMED:
        labels = [
            f"{index + 1}: {short_name(layer, LONGEST_NAME)}"
            for index, layer in zip(names["layer_index"], names["layer"], strict=True)
        ]
        axes.set_xticks(list(names["layer_index"] + 1), labels, rotation=90, fontsize=7)
