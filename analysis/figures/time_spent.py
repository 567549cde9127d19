"""Where the time of a trial went, as far as it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import PARTS, Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..frames import measured_trials, over_seeds
from ..labels import in_order, trial_words
from ..marks import clusters
from ..style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 18
TITLE = "Where the time went"
CAPTION = (
    "A trial's own time, waits included: deciding its layers, joint passes and the low-rank step, apart from them the "
    "fine-tunes of what was committed and the looks at the guard images, and the rest (order, measurements). Results "
    "before version 9 do not tell these two apart. Evaluators' time: scoring its candidates, fine-tunes before the "
    "reward included; several evaluators work at once."
)
LAYERS, JOINT, LOW_RANK, REST = "layers", "joint passes", "low rank", "the rest"
FINETUNES, GUARD = "fine-tunes", "guard"
SCORING = "scoring candidates"
TRIAL, EVALUATORS = "a trial's own time", "evaluators' time"
COLOURS = {
    LAYERS: "#46628f", JOINT: "#c9a227", LOW_RANK: "#7f9c6b", FINETUNES: "#b4643c", GUARD: "#5f9ea0", REST: "#a0a8b0",
    SCORING: "#a05c7b",
}  # fmt: skip
MOST_TRIALS = 24
"""Settings shown; those that took longest of more."""
CLUSTERS_A_ROW = 6


def select(tables: Tables) -> pd.DataFrame:
    """Trial (in words), clock, part, seconds (mean, lowest, highest); parts that took no time are left out."""
    trials = measured_trials(tables)
    trials = trials[trials["wall_time_s"].notna()]
    trials = trials.assign(trial=[trial_words(row) for row in trials.to_dict("records")])
    ids = trials["trial_id"]
    parts = {
        LAYERS: _own_seconds(tables.layers, ids),
        JOINT: _own_seconds(tables.joint, ids),
        LOW_RANK: _own_seconds(tables.low_rank, ids),
        FINETUNES: trials["finetune_s"].astype(float).fillna(0.0),
        GUARD: trials["guard_s"].astype(float).fillna(0.0),
    }
    spent = pd.Series(sum(parts.values()), index=ids.index, dtype=float)
    parts[REST] = (trials["wall_time_s"].astype(float) - spent).clip(lower=0.0)
    parts[SCORING] = _seconds(tables.candidates, "score_s", ids)
    frames = [
        trials[["trial", "trial_id"]].assign(clock=EVALUATORS if part == SCORING else TRIAL, part=part, seconds=seconds)
        for part, seconds in parts.items()
    ]
    frame = over_seeds(pd.concat(frames), ["trial", "clock", "part"], "seconds")
    longest = frame[frame["clock"] == TRIAL].groupby("trial")["seconds"].sum().nlargest(MOST_TRIALS).index
    return frame[(frame["seconds"] > 0) & frame["trial"].isin(longest)].reset_index(drop=True)


def _own_seconds(table: pd.DataFrame, ids: pd.Series) -> pd.Series:
    """The seconds of each trial's rows without those of their parts."""
    return _seconds(table, "wall_time_s", ids) - sum(_seconds(table, part, ids) for part in PARTS)


def _seconds(table: pd.DataFrame, column: str, ids: pd.Series) -> pd.Series:
    """The sum of a column over each trial's rows; 0 without rows."""
    return ids.map(table.groupby("trial_id")[column].sum()).astype(float).fillna(0.0)


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of seconds for both clocks."""
    frame = frame.assign(value=frame["seconds"])
    return [
        Bars(clock, "seconds", clusters(part, "trial", "part", COLOURS))
        for clock, part in frame.groupby("clock", sort=False)
    ]


def draw(frame: pd.DataFrame) -> Figure:
    """Rows of panels for both clocks, a cluster for each trial."""
    frame = frame.assign(value=frame["seconds"], text=frame["seconds"].map("{:,.0f}".format))
    rows = [
        (clock, part[part["trial"].isin(shown)])
        for clock, part in frame.groupby("clock", sort=False)
        for trials in [in_order(part["trial"])]
        for start in range(0, len(trials), CLUSTERS_A_ROW)
        for shown in [trials[start : start + CLUSTERS_A_ROW]]
    ]
    width = max(5.0, 1 + 1.9 * min(CLUSTERS_A_ROW, frame["trial"].nunique()))
    figure = new_figure(width, 1.0 + 2.8 * len(rows))
    panels = figure.subplots(len(rows), 1, squeeze=False)
    colours = {part: colour for part, colour in COLOURS.items() if part in set(frame["part"])}
    for (clock, part), axes in zip(rows, panels.flat, strict=True):
        grouped_bars(axes, part, "trial", "part", colours)
        axes.set_title(str(clock))
        axes.set_ylabel("seconds")
    bar_legend(figure, colours)
    return figure
