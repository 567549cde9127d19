"""A quantity of the agents' updates, one small panel per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from .charts import Axis, Chart, Plot, Series
from .frames import completed_trials, with_trial
from .labels import bounds_label, in_order, joined, short_name
from .marks import numbers, thinned
from .style import INK, SOFT, bound_colours, grouped_legend, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5
LINES = ("-", "--", ":", "-.", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)))
KEYS = ["layer_index", "layer", "bound", "series", "unit"]
LONGEST_NAME = 26
"""Characters of a layer's name that fit above a panel."""
MOST_POINTS, FEWEST_POINTS, MOST_IN_ALL = 200, 20, 40_000
"""Points of a curve on the page, and of all curves of a figure together."""


def by_update(tables: Tables, quantity: str) -> pd.DataFrame:
    """Layer_index, layer, bound, series (order and what else differs), update, value, and the first trial_id."""
    trials = completed_trials(tables)
    learned = trials[trials["trial_id"].isin(tables.updates["trial_id"])]
    several = learned["method"].nunique() > 1
    names = [
        joined(row["order"], row["method"] if several else "", row["context"], "" if row["single"] else row["scope"])
        for row in learned.to_dict("records")
    ]
    updates = with_trial(tables.updates, learned.assign(series=names), ["bound", "series", "unit"])
    places = tables.layers[["trial_id", "layer", "layer_index"]]
    updates = updates.merge(places, on=["trial_id", "layer"], how="inner")
    lines = [
        _mean_line(part, quantity).assign(**dict(zip(KEYS, key, strict=True)))
        for key, part in updates.groupby(KEYS, sort=False)
    ]
    columns = [*KEYS, "update", "value", "trial_id"]
    if not lines:
        return pd.DataFrame(columns=columns)
    return pd.concat(lines)[columns].sort_values("layer_index", kind="stable", ignore_index=True)


def _mean_line(part: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Update, value (the mean over trials, each held at its last update) and the first trial."""
    wide = part.pivot_table(index="update", columns="trial_id", values=quantity, dropna=False)
    first = part["trial_id"].iloc[0]
    return wide.ffill().mean(axis=1).rename("value").reset_index().assign(trial_id=first)


def update_charts(frame: pd.DataFrame, ylabel: str) -> list[Chart]:
    """A plot of curves for each layer; colours show the bound, dashes every second series."""
    names, colours = in_order(frame["series"]), bound_colours(list(frame["bound"]))
    lines = list(frame.groupby(KEYS[:4], sort=False))
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_IN_ALL // max(1, len(lines))))
    found: dict[tuple[int, str], list[Series]] = {}
    for (index, layer, bound, name), line in lines:
        part = thinned(line, most)
        found.setdefault((index, layer), []).append(
            Series(
                bound,
                numbers(part["update"]),
                numbers(part["value"]),
                trials=[str(part["trial_id"].iloc[0])] * len(part),
                group=bounds_label(frame),
                also=[("order", name)] if len(names) > 1 else [],
                colour=colours[bound],
                look="points" if len(part) == 1 else "dashed" if names.index(name) % 2 else "line",
            )
        )
    return [
        Plot(f"{index + 1}: {layer}", Axis("update"), Axis(ylabel), series) for (index, layer), series in found.items()
    ]


def draw_updates(frame: pd.DataFrame, ylabel: str) -> Figure:
    """A grid of layers; colours show the bound, line styles the order."""
    from matplotlib.lines import Line2D

    panels_of = list(frame.groupby(["layer_index", "layer"], sort=False))
    names = in_order(frame["series"])
    styles = {name: LINES[i % len(LINES)] for i, name in enumerate(names)}
    colours = bound_colours(list(frame["bound"]))
    columns = min(COLUMNS, len(panels_of))
    rows = -(-len(panels_of) // columns)
    figure = new_figure(max(5.0, 2.4 * columns), 1.1 + 1.9 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number >= len(panels_of):
            axes.set_visible(False)
            continue
        (index, layer), part = panels_of[number]
        for (bound, name), line in part.groupby(["bound", "series"], sort=False):
            axes.plot(line["update"], line["value"], color=colours[bound], linestyle=styles[name], linewidth=1.2)
        axes.set_title(f"{index + 1}: {short_name(layer, LONGEST_NAME)}", fontsize=8)
        _label(axes, ylabel if number % columns == 0 else "", lowest=number + columns >= len(panels_of))
    grouped_legend(
        figure,
        {
            bounds_label(frame): {bound: Line2D([], [], color=colour) for bound, colour in colours.items()},
            "order": {name: Line2D([], [], color=INK, linestyle=style) for name, style in styles.items()},
        },
    )
    return figure


def _label(axes: Axes, ylabel: str, lowest: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axhline(0, color=SOFT, linewidth=0.6)
    axes.set_ylabel(ylabel)
    if lowest:
        axes.set_xlabel("update")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_tick_params(labelbottom=True)
    tidy(axes)
