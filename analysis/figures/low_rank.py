"""What factorising layers saves beyond pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..frames import completed_trials, over_seeds
from ..labels import in_order, trial_words, wrapped
from ..marks import clusters
from ..style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 17
TITLE = "What low rank saves after pruning"
CAPTION = (
    "What is left of the baseline, as pruned and after layers were factorised into two smaller ones within the same "
    "drop bound."
)
STAGES = {"as pruned": "#8fb8c9", "and factorised": "#1f6feb"}
PARTS = {"params": "parameters", "macs": "multiply-adds"}
CLUSTERS_A_ROW = 6


def select(tables: Tables) -> pd.DataFrame:
    """Trial (in words), part, stage and the share of the baseline's that is left."""
    trials = completed_trials(tables)
    trials = trials[trials["params_before_low_rank"].notna()]
    trials = trials.assign(trial=[trial_words(row) for row in trials.to_dict("records")])
    frames = []
    for part, name in PARTS.items():
        for stage, column in zip(STAGES, (f"{part}_before_low_rank", part), strict=True):
            share = trials[column].astype(float) / trials[f"baseline_{part}"].astype(float)
            frames.append(trials[["trial", "trial_id"]].assign(part=name, stage=stage, share_left=share))
    return over_seeds(pd.concat(frames), ["trial", "part", "stage"], "share_left")


def charts(frame: pd.DataFrame) -> list[Chart]:
    """The parameters and the multiply-adds left, in percent."""
    frame = _in_percent(frame)
    unit = "% of the baseline"
    return [Bars(part, unit, clusters(of, "trial", "stage", STAGES)) for part, of in frame.groupby("part", sort=False)]


def _in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    percent = frame[["share_left", "lowest", "highest"]].mul(100)
    texts = percent["share_left"].map("{:.0f}".format)
    return frame.assign(value=percent["share_left"], lowest=percent["lowest"], highest=percent["highest"], text=texts)


def draw(frame: pd.DataFrame) -> Figure:
    """One row of panels for parameters and one for multiply-adds; two bars per trial."""
    frame = _in_percent(frame)
    trials = in_order(frame["trial"])
    rows = [trials[start : start + CLUSTERS_A_ROW] for start in range(0, len(trials), CLUSTERS_A_ROW)]
    panels_of = [(part, row) for part in PARTS.values() for row in rows]
    width = max(5.0, 1 + 1.9 * max(map(len, rows)))
    figure = new_figure(width, 1.0 + 3.0 * len(panels_of))
    panels = figure.subplots(len(panels_of), 1, sharey=True, squeeze=False)
    for (part, row), axes in zip(panels_of, panels.flat, strict=True):
        shown = frame[(frame["part"] == part) & frame["trial"].isin(row)]
        grouped_bars(axes, shown, "trial", "stage", STAGES)
        axes.set_title(wrapped(part, width))
        axes.set_ylabel("left (% of the baseline)")
    bar_legend(figure, STAGES)
    return figure
