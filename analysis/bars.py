"""Grouped bars with a text on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from .labels import in_order
from .style import SOFT, legend_names, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grouped_bars(
    axes: Axes, frame: pd.DataFrame, group: str, series: str, colours: Mapping[str, str], upright: bool = True
) -> None:
    """Bars of ``value``: one cluster per ``group``, one colour per ``series``, ``text`` on every bar.

    A bar of several trials has a whisker from ``lowest`` to ``highest``.
    """
    groups = in_order(frame[group])
    names = [name for name in colours if name in set(frame[series])]
    width = min(0.4, 0.8 / max(1, len(names)))
    for number, name in enumerate(names):
        part = frame[frame[series] == name]
        places = [groups.index(g) + (number - (len(names) - 1) / 2) * width for g in part[group]]
        bars = axes.bar(places, part["value"], width * 0.92, color=colours[name])
        _whiskers(axes, places, part)
        ends = part["highest"].where(part["value"] >= 0, part["lowest"])
        for bar, end, text in zip(bars, ends, part["text"], strict=True):
            above = bar.get_height() >= 0
            axes.annotate(
                text,
                (bar.get_x() + bar.get_width() / 2, end),
                (0, 2 if above else -2),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=7,
                linespacing=1.05,
                rotation=0 if upright else 90,
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.margins(y=0.16 if upright else 0.24)
    tidy(axes)
    axes.grid(axis="x", visible=False)


def _whiskers(axes: Axes, places: list[float], part: pd.DataFrame) -> None:
    for place, low, high, number in zip(places, part["lowest"], part["highest"], part["num_trials"], strict=True):
        if number > 1:
            axes.plot([place, place], [low, high], color=SOFT, linewidth=1, marker="_", markersize=5)


def bar_legend(figure: Figure, colours: Mapping[str, str], title: str | None = None) -> None:
    """The colours of the series, under the figure."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour) for colour in colours.values()]
    columns = min(5, len(colours))
    figure.legend(handles, legend_names(colours), title=title, loc="outside lower center", ncols=columns)
