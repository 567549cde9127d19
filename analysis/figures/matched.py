"""Layer by layer, as cut: by how much less a method's choice loses than another's at the same number of filters."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raprune.results import Tables

from ..bars import bar_legend
from ..gaps import LAYER, mean_gaps, paired_layers
from ..labels import drop_text, in_order, short_name, units_of, wrapped
from ..style import SOFT, method_colours, new_figure, tidy

PLACE = 6
TITLE = "The same ratios, chosen differently: each layer as cut"
CAPTION = (
    "How many more points a matched method loses when it cuts a layer than its partner does at the same number of "
    "filters, on validation images and before any fine-tune; above zero the partner's choice is the better one. On "
    "the right stands the mean over the layers. This compares the choices themselves: a fine-tune hides much of the "
    "difference, and the score at the end mostly tells of the layer decided last. Each trial cuts its own network, as "
    "its earlier layers left it; the partner's masks were chosen by their scores on these images, a matched trial's "
    "were not. Mean over baselines; a whisker is the 95% interval over them (bootstrap, too narrow for a handful of "
    "baselines), and there is none where all trials share one baseline."
)
MEAN = "mean"
"""The layer of a row that is the mean over the layers."""
NAMED = 24
"""Up to this many layers, the axis names them; more are numbered."""
PANELS_A_ROW = 2


def select(tables: Tables) -> pd.DataFrame:
    """Setting, like, method, layer_index, layer, gap, lowest, highest, num_baselines ...; the mean as a last layer."""
    pairs = paired_layers(tables)
    if pairs["like"].nunique() > 1:
        pairs = pairs.assign(setting=pairs["setting"] + "\nlike " + pairs["like"])
    keys = ["setting", "like", "method", "score_name", "unit"]
    mean = mean_gaps(pairs, keys).assign(layer=MEAN, layer_index=-1)
    layers = mean_gaps(pairs, [*keys, *LAYER]).sort_values("layer_index", kind="stable")
    return pd.concat([layers, mean[layers.columns]], ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each setting, a place on its axis for each layer and one for their mean."""
    colours = method_colours(in_order(frame["method"]))
    settings = in_order(frame.loc[frame["layer"] == MEAN, "setting"])
    columns = min(PANELS_A_ROW, len(settings))
    rows = -(-len(settings) // columns)
    most = frame.groupby("setting")["layer"].nunique().max()
    width = min(14.0 / columns, max(4.2, 1.2 + 0.32 * most))
    figure = new_figure(0.6 + width * columns, 0.8 + 3.3 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(settings) :]:
        axes.set_visible(False)
    for setting, axes in zip(settings, panels.flat, strict=False):
        part = frame[frame["setting"] == setting]
        _panel(axes, part, colours)
        means = part[part["layer"] == MEAN]
        words = ", ".join(f"{name} {drop_text(gap)}" for name, gap in zip(means["method"], means["gap"], strict=True))
        axes.set_title("\n".join(wrapped(line, width) for line in (*setting.split("\n"), f"mean: {words}")))
    for row in panels:
        row[0].set_ylabel(f"lost more as cut ({units_of(frame)})")
    bar_legend(figure, colours, "matched method")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, colours: Mapping[str, str]) -> None:
    names = dict(zip(part["layer"], part["layer_index"], strict=True))
    layers = [*sorted(set(names) - {MEAN}, key=names.__getitem__), MEAN]
    places = {layer: place for place, layer in enumerate(layers)}
    methods = [method for method in colours if method in set(part["method"])]
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.axvline(len(layers) - 1.5, color=SOFT, linewidth=0.6, linestyle=":")
    for number, method in enumerate(methods):
        own = part[part["method"] == method]
        shift = 0.5 * (number - (len(methods) - 1) / 2) / len(methods)
        for row in own.to_dict("records"):
            place, is_mean = places[row["layer"]] + shift, row["layer"] == MEAN
            if not pd.isna(row["lowest"]):
                axes.plot([place] * 2, [row["lowest"], row["highest"]], color=colours[method], linewidth=1.2)
            axes.plot(place, row["gap"], "D" if is_mean else "o", color=colours[method], markersize=6 if is_mean else 4)
    named = len(layers) - 1 <= NAMED
    labels = [short_name(layer, 18) if named or layer == MEAN else str(names[layer] + 1) for layer in layers]
    axes.set_xticks(range(len(layers)), labels, rotation=90, fontsize=7)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    tidy(axes)
    axes.grid(axis="x", visible=False)
