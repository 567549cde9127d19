"""Which evaluator scored when, and the share of its time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raprune.results import Tables

from ..charts import Chart, Heat
from ..labels import wrapped
from ..marks import numbers
from ..style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 19
TITLE = "When evaluators were busy"
CAPTION = (
    "Share of its time in which an evaluator scored candidates, fine-tunes before the reward included. Commits and "
    "other work count as idle, and so does an evaluator that is not there. Time runs from the first candidate, in "
    "hours, minutes and seconds; a long pause of all evaluators takes two columns. Where there are several, the first "
    "row is their mean."
)
MOST_COLUMNS, PAUSE = 60, 2
MOST_ROWS = 32
"""Rows of evaluators; of more evaluators, neighbours share a row."""
ALL = "all {} evaluators"
COLOURS = ("#f6f8fa", "#8fb8c9", "#3d7fc1", "#22285c")
_COLUMNS = ["study", "row", "evaluator", "column", "since_s", "busy_share"]


def select(tables: Tables) -> pd.DataFrame:
    """Study, row, evaluator (or neighbours), column, since_s (of the column's start) and busy_share (0 to 1)."""
    parts = [_of_study(str(study), part) for study, part in tables.timeline.groupby("study", sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _of_study(study: str, timeline: pd.DataFrame) -> pd.DataFrame:
    """The busy shares of one study's evaluators, a row for each cell of the map."""
    width_s, starts = float(timeline["width_s"].iloc[0]), timeline["start_s"].to_numpy()
    begin = float(starts.min())
    bins = np.rint((starts - begin) / width_s).astype(int)
    names = sorted(timeline["evaluator"].unique(), key=_natural)
    joined = 1
    while len(_shown(bins // joined)) > MOST_COLUMNS:
        joined *= 2
    shown = _shown(bins // joined)
    busy = np.zeros((len(names), len(shown)))
    rows = timeline["evaluator"].map({name: row for row, name in enumerate(names)}).to_numpy()
    np.add.at(busy, (rows, np.searchsorted(shown, bins // joined)), timeline["busy_s"].to_numpy())
    shares = np.clip(busy / (joined * width_s), 0.0, 1.0)
    groups = np.array_split(np.arange(len(names)), min(MOST_ROWS, len(names)))
    labelled = [(_label([names[member] for member in group]), shares[group].mean(axis=0)) for group in groups]
    if len(names) > 1:
        labelled.insert(0, (ALL.format(len(names)), shares.mean(axis=0)))
    cells = [
        (study, row, label, column, float(shown[column] * joined * width_s), float(share))
        for row, (label, of_row) in enumerate(labelled)
        for column, share in enumerate(of_row)
    ]
    return pd.DataFrame(cells, columns=_COLUMNS)


def _shown(bins: np.ndarray) -> np.ndarray:
    """The bins that are drawn: those with work, and the first idle ones after each."""
    used = np.unique(bins)
    idle = (used[:-1, None] + np.arange(1, PAUSE + 1))[np.arange(1, PAUSE + 1) < np.diff(used)[:, None]]
    return np.union1d(used, idle)


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders evaluator-2 before evaluator-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _label(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def charts(frame: pd.DataFrame) -> list[Chart]:
    """A heat map for each study."""
    return [
        Heat(
            study,
            "% of the time",
            rows,
            columns,
            [numbers(row) for row in 100 * shares],
            0.0,
            100.0,
            trials=[""] * len(rows),
        )
        for study, rows, columns, shares in _maps(frame)
    ]


def _maps(frame: pd.DataFrame) -> list[tuple[str, list[str], list[str], np.ndarray]]:
    """Study, its rows and columns in words, and the shares."""
    found = []
    for study, part in frame.groupby("study", sort=False):
        rows = part.drop_duplicates("row")["evaluator"].tolist()
        columns = _clocks(part.drop_duplicates("column")["since_s"].tolist())
        found.append((str(study), rows, columns, part["busy_share"].to_numpy().reshape(len(rows), len(columns))))
    return found


def _clocks(times_s: list[float]) -> list[str]:
    """Such as ``1:05:00``; in a study of seconds with as many decimals as tell the columns apart, at most three."""
    for decimals in range(4):
        found = [_clock(seconds, decimals) for seconds in times_s]
        if len(set(found)) == len(found):
            break
    return found


def _clock(seconds: float, decimals: int) -> str:
    parts = 10**decimals
    whole, part = divmod(int(seconds * parts + 1e-6), parts)
    return f"{timedelta(seconds=whole)}.{part:0{decimals}d}" if decimals else str(timedelta(seconds=whole))


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each study."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("busy", COLOURS)
    maps = _maps(frame)
    heights = [1.2 + 0.22 * len(rows) for _, rows, _, _ in maps]
    width = 10.0
    figure = new_figure(width, 0.6 + sum(heights))
    panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)
    for (study, rows, columns, shares), axes in zip(maps, panels.flat, strict=True):
        axes.pcolormesh(100 * shares, cmap=colours, vmin=0, vmax=100)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(rows)) + 0.5, [wrapped(name, 2.0) for name in rows], fontsize=7)
        every = -(-len(columns) // 12)
        axes.set_xticks(np.arange(0, len(columns), every), columns[::every], fontsize=7)
        axes.set_title(wrapped(study, width))
        axes.set_xlabel("time since the first candidate")
        axes.set_ylabel("evaluator")
        axes.spines[:].set_visible(False)
    scale = ScalarMappable(Normalize(0, 100), colours)
    figure.colorbar(scale, ax=list(panels.flat), label="busy (% of the time)", shrink=0.8)
    return figure
