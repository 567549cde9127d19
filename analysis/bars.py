"""Grouped bars with a text on each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from .style import tidy


def grouped_bars(
    axes: Axes, frame: pd.DataFrame, group: str, series: str, value: str, text: str, colours: dict[str, str]
) -> None:
    """Bars of ``value``, a cluster for each of ``group``, a colour for each of ``series``, ``text`` on every bar."""
    groups: Sequence[str] = list(dict.fromkeys(frame[group]))
    names: Sequence[str] = list(dict.fromkeys(frame[series]))
    width = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        part = frame[frame[series] == name].set_index(group)
        found = [g for g in groups if g in part.index]
        places = [groups.index(g) + (number - (len(names) - 1) / 2) * width for g in found]
        bars = axes.bar(places, part.loc[found, value], width * 0.92, color=colours[name], label=name)
        axes.bar_label(bars, labels=list(part.loc[found, text]), fontsize=7, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.12)
    tidy(axes)
    axes.grid(axis="x", visible=False)
