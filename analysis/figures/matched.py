"""Layer by layer, as cut: by how much less a method's choice loses than another's at the same number of filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend
from ..charts import Axis, Chart, Plot, Series
from ..gaps import LAYER, mean_gaps, paired_layers
from ..labels import drop_text, in_order, short_name, units_of, wrapped
from ..marks import numbers, one_line
from ..style import SOFT, method_colours, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE = 10
TITLE = "The same ratios, chosen differently: each layer as cut"
CAPTION = (
    "How much more a matched method loses when it cuts a layer than its partner does at the same number of filters, on "
    "validation images and before any fine-tune; above zero the partner's choice is the better one. Whiskers are 95% "
    "intervals over baselines. The partner's masks were chosen by their scores on these images, a matched trial's were "
    "not."
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


def charts(frame: pd.DataFrame) -> list[Chart]:
    """A plot for each setting, its layers along the axis and their mean at the end."""
    colours = method_colours(in_order(frame["method"]))
    found: list[Chart] = []
    for setting in in_order(frame.loc[frame["layer"] == MEAN, "setting"]):
        part = frame[frame["setting"] == setting]
        places = _places(part)
        series = [
            _series(of, places, _shift(part, colours, method), colours[method])
            for method in colours
            for is_mean in (False, True)
            if len(of := part[(part["method"] == method) & ((part["layer"] == MEAN) == is_mean)])
        ]
        y = Axis(f"lost more as cut ({units_of(frame)})")
        found.append(Plot(one_line(f"{setting}\n{_means(part)}"), Axis("layer", ticks=[*places]), y, series))
    return found


def _series(of: pd.DataFrame, places: Mapping[str, int], shift: float, colour: str) -> Series:
    is_mean = of["layer"].iloc[0] == MEAN
    return Series(
        str(of["method"].iloc[0]),
        numbers(of["layer"].map(places) + shift),
        numbers(of["gap"]),
        low=numbers(of["lowest"]),
        high=numbers(of["highest"]),
        trials=[str(name) for name in of["trial_id"]],
        group="matched method",
        colour=colour,
        marker="D" if is_mean else "o",
        notes=[f"{layer}, {of_baselines(number)}" for layer, number in of[["layer", "num_baselines"]].values],
    )


def of_baselines(number: int) -> str:
    """``mean of 3 baselines``, ``one baseline``."""
    return "one baseline" if number == 1 else f"mean of {number} baselines"


def _places(part: pd.DataFrame) -> dict[str, int]:
    """The layers and the mean -> their places on the axis."""
    names = dict(zip(part["layer"], part["layer_index"], strict=True))
    return {layer: place for place, layer in enumerate([*sorted(set(names) - {MEAN}, key=names.__getitem__), MEAN])}


def _shift(part: pd.DataFrame, colours: Mapping[str, str], method: str) -> float:
    """How far a method's points stand beside the middle of their layer."""
    methods = [name for name in colours if name in set(part["method"])]
    return 0.5 * (methods.index(method) - (len(methods) - 1) / 2) / len(methods)


def _means(part: pd.DataFrame) -> str:
    means = part[part["layer"] == MEAN]
    gaps = zip(means["method"], means["gap"], strict=True)
    return "mean: " + ", ".join(f"{name} {drop_text(gap)}" for name, gap in gaps)


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
        axes.set_title("\n".join(wrapped(line, width) for line in (*setting.split("\n"), _means(part))))
    for row in panels:
        row[0].set_ylabel(f"lost more as cut ({units_of(frame)})")
    bar_legend(figure, colours, "matched method")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, colours: Mapping[str, str]) -> None:
    names = dict(zip(part["layer"], part["layer_index"], strict=True))
    places = _places(part)
    layers = [*places]
    methods = [method for method in colours if method in set(part["method"])]
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.axvline(len(layers) - 1.5, color=SOFT, linewidth=0.6, linestyle=":")
    for method in methods:
        own = part[part["method"] == method]
        shift = _shift(part, colours, method)
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
