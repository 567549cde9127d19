"""Each layer decided alone: what the methods lose at the same ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..ends import layers_at_end
from ..frames import SPLITS, completed_trials, over_seeds, with_trial
from ..labels import NO_BOUND, bound_text, in_order, joined, score_drop_label, short_name, wrapped
from ..marks import clusters
from ..style import SOFT, method_colours, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE = 9
TITLE = "One layer at a time"
CAPTION = (
    "Score lost when each layer is decided alone in the untouched network, from the input to the output; lower is "
    "better. It is the test score (validation without a test split); percentages are the filters pruned, the dotted "
    "line is the drop bound."
)
LAYERS_A_ROW = 20
LONGEST_NAME = 26


def select(tables: Tables) -> pd.DataFrame:
    """Context, bound, split, layer_index, layer, method, score_drop, pruning_ratio; empty without single layers."""
    trials = completed_trials(tables)
    trials = trials[trials["single"]]
    has_test = bool(len(trials)) and bool(trials["test_score_drop"].notna().all())
    column = "test_score_drop" if has_test else "val_score_drop"
    trials = trials.assign(score_drop=trials[column], split=SPLITS[column])
    keys = ["context", "bound", "split", "score_name", "unit", "method"]
    layers = with_trial(layers_at_end(tables), trials, [*keys, "score_drop"])
    frame = over_seeds(layers, [*keys, "layer_index", "layer"], "score_drop", "pruning_ratio")
    return frame.sort_values("layer_index", kind="stable", ignore_index=True)


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of the score lost by each layer, for each context and bound."""
    colours = method_colours(in_order(frame["method"]))
    frame = _named(frame)
    frame = frame.assign(note=frame["ratio"] + " of the filters pruned")
    return [
        Bars(
            joined(part["split"].iloc[0], bound_text(bound), context),
            score_drop_label(part),
            clusters(part, "name", "method", colours),
            [] if bound == NO_BOUND else [(float(bound), bound_text(bound))],
        )
        for (context, bound), part in frame.groupby(["context", "bound"], sort=False)
    ]


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """With the layers' ``name``, ``value`` and ``ratio``."""
    names = [
        f"{i + 1}: {short_name(n, LONGEST_NAME)}" for i, n in zip(frame["layer_index"], frame["layer"], strict=True)
    ]
    ratios = (100 * frame["pruning_ratio"]).map("{:.0f}%".format)
    return frame.assign(name=names, value=frame["score_drop"], ratio=ratios)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each context and bound, in rows of so many layers; a cluster for each layer."""
    colours = method_colours(in_order(frame["method"]))
    frame = _named(frame)
    rows = []
    for (context, bound), part in frame.groupby(["context", "bound"], sort=False):
        places = part["layer_index"].rank(method="dense").astype(int) - 1
        num_layers = places.max() + 1
        a_row = -(-num_layers // -(-num_layers // LAYERS_A_ROW))
        rows += [(context, bound, of) for _, of in part.groupby(places // a_row, sort=False)]
    most = max(part["name"].nunique() for _, _, part in rows)
    width = max(5.0, 1 + most * max(0.34, 0.16 * len(colours)))
    figure = new_figure(width, 0.8 + 3.4 * len(rows))
    panels = figure.subplots(len(rows), 1, squeeze=False)
    for (context, bound, part), axes in zip(rows, panels.flat, strict=True):
        alike = part.groupby("name")["ratio"].nunique().eq(1).all()
        text = "" if alike else part["ratio"]
        grouped_bars(axes, part.assign(text=text), "name", "method", colours, upright=bool(alike))
        if alike:
            _ratios(axes, part)
        axes.tick_params(axis="x", rotation=90, labelsize=7)
        axes.axhline(0, color=SOFT, linewidth=0.8)
        _bound_line(axes, bound)
        axes.set_title(wrapped(joined(part["split"].iloc[0], bound_text(bound), context), width))
        axes.set_ylabel(score_drop_label(part))
    bar_legend(figure, colours)
    return figure


def _bound_line(axes: Axes, bound: str) -> None:
    if bound != NO_BOUND:
        axes.axhline(float(bound), color=SOFT, linewidth=0.8, linestyle=":")


def _ratios(axes: Axes, part: pd.DataFrame) -> None:
    """The ratio over each cluster."""
    for place, (_, layer) in enumerate(part.groupby("name", sort=False)):
        top = max(0.0, layer["highest"].max())
        axes.annotate(
            layer["ratio"].iloc[0],
            (place, top),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
        )
