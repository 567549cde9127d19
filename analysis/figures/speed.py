"""How much time the saved multiply-adds save, by device, backend and batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..frames import measured_trials, over_seeds, with_trial
from ..labels import in_order, joined, trial_words, wrapped
from ..marks import clusters
from ..style import INK, OTHER_COLOURS, SOFT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE = 16
TITLE = "How much faster it is"
CAPTION = (
    "How many times as fast as the baseline the pruned network runs, as raprune bench measured it (medians), beside "
    "what its multiply-adds suggest. Below 1 it is slower."
)
THEORY = "as the multiply-adds suggest"
CLUSTERS_A_ROW = 4
COLOURS = tuple(colour for strong in ("#1f6feb", "#e8833a", *OTHER_COLOURS) for colour in (strong, strong + "80"))
"""Two to a backend: its batch sizes are lighter and darker."""
_MEASURE = ["trial_id", "device", "threads", "host", "backend", "batch_size"]


def select(tables: Tables) -> pd.DataFrame:
    """Machine, trial (in words), backend, batch_size, measured and theoretical: old / new of times and macs."""
    trials = measured_trials(tables)
    trials = trials.assign(trial=[trial_words(row) for row in trials.to_dict("records")])
    speed = tables.speed
    several = speed["host"].nunique() > 1
    sides = [speed[speed["network"] == name] for name in ("baseline", "pruned")]
    pairs = sides[0].merge(sides[1], on=["study", *_MEASURE], suffixes=("_old", "_new"))
    pairs = pairs.assign(
        measured=pairs["median_s_old"] / pairs["median_s_new"],
        theoretical=pairs["macs_old"] / pairs["macs_new"],
        machine=[
            joined(device, f"{threads} thread{'' if threads == 1 else 's'}", host if several else "")
            for device, threads, host in zip(*(pairs[c] for c in ("device", "threads", "host")), strict=True)
        ],
    )
    order = {trial_id: place for place, trial_id in enumerate(trials["trial_id"])}
    frame = with_trial(pairs, trials, ["trial"])
    frame = frame.sort_values("trial_id", key=lambda ids: ids.map(order), kind="stable")
    return over_seeds(frame, ["machine", "trial", "backend", "batch_size"], "measured", "theoretical")


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of the measured ratios for each machine, and of what the multiply-adds suggest."""
    colours = _colours(frame) | {THEORY: SOFT}
    frame = _with_series(frame)
    found: list[Chart] = []
    for machine, part in frame.groupby("machine", sort=False):
        theory = part.groupby("trial", sort=False).first().reset_index()
        theory = theory.assign(series=THEORY, value=theory["theoretical"], num_trials=1)
        bars = clusters(pd.concat([part, theory]), "trial", "series", colours)
        found.append(Bars(str(machine), "times as fast", bars, [(1.0, "baseline")]))
    return found


def _with_series(frame: pd.DataFrame) -> pd.DataFrame:
    series = [
        f"{backend}, batch size {size}" for backend, size in zip(frame["backend"], frame["batch_size"], strict=True)
    ]
    return frame.assign(series=series, value=frame["measured"], text=frame["measured"].map("{:.2f}".format))


def draw(frame: pd.DataFrame) -> Figure:
    """One row of panels per machine, one cluster of bars per trial, one dash for what its multiply-adds suggest."""
    frame = _with_series(frame)
    colours = _colours(frame)
    panels_of = []
    for machine, part in frame.groupby("machine", sort=False):
        trials = in_order(part["trial"])
        for start in range(0, len(trials), CLUSTERS_A_ROW):
            panels_of.append((machine, part[part["trial"].isin(trials[start : start + CLUSTERS_A_ROW])]))
    most = max(part["trial"].nunique() for _, part in panels_of)
    width = max(5.0, 1 + most * max(1.6, 0.36 * len(colours)))
    figure = new_figure(width, 1.2 + 3.2 * len(panels_of))
    panels = figure.subplots(len(panels_of), 1, sharey=True, squeeze=False)
    for (machine, part), axes in zip(panels_of, panels.flat, strict=True):
        grouped_bars(axes, part, "trial", "series", colours)
        _theory(axes, part)
        axes.axhline(1, color=SOFT, linewidth=0.8)
        axes.set_title(wrapped(str(machine), width))
        axes.set_ylabel("times as fast (old / new)")
    bar_legend(figure, colours)
    return figure


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    """Series -> colour: one colour per backend, lighter for every second batch size."""
    backends, names = in_order(frame["backend"]), {}
    sizes = sorted(set(frame["batch_size"]))
    for backend in backends:
        own = frame[frame["backend"] == backend]
        for size in (size for size in sizes if size in set(own["batch_size"])):
            place = 2 * backends.index(backend) + (sizes.index(size) + 1) % 2
            names[f"{backend}, batch size {size}"] = COLOURS[place % len(COLOURS)]
    return names


def _theory(axes: Axes, part: pd.DataFrame) -> None:
    for place, (_, trial) in enumerate(part.groupby("trial", sort=False)):
        theory = trial["theoretical"].mean()
        axes.plot([place - 0.45, place + 0.45], [theory, theory], color=INK, linewidth=1.5, linestyle=(0, (4, 2)))
