"""Images with classes or boxes that pruning improved most, changed least and made worse most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from raprune.results import Tables

from ..charts import Chart, Picture, Pictures
from ..frames import first_of_each_bound, measured_trials, whole_networks, with_trial
from ..labels import bound_text, drop_text, joined, wrapped
from ..segmentation import classes, hex_of, measure_of, pixels, small
from ..style import GRID, legend_names, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE = 15
TITLE = "What the pruned network sees"
CAPTION = (
    "Validation images whose global accuracy (percent of labelled pixels that are right), or whose F1 of boxes (twice "
    "the right ones over all found with a score of at least 0.5 and all labelled, in percent), pruning improved most, "
    "changed least and made worse most, for the first trial of up to three drop bounds."
)
MAPS = ("label", "baseline", "pruned")
COLUMNS = ("image", *MAPS)
SAID = {"improved": "improved", "stayed": "unchanged", "worse": "worse"}
"""Kinds of pictures, as a reader calls them."""
MAX_TRIALS = 3
MAX_ROWS = 9
"""With fewer trials, more pictures of each kind are shown."""
WIDTH_IN = 2.3


def select(tables: Tables) -> pd.DataFrame:
    """Trial_id, what it is, kind, place, image_index, accuracies and their change, and the four PNGs."""
    trials = whole_networks(measured_trials(tables))
    trials = first_of_each_bound(trials[trials["trial_id"].isin(tables.pictures["trial_id"])], MAX_TRIALS)
    frame = with_trial(tables.pictures, trials, ["method", "order", "bound", "context", "seed"])
    most = MAX_ROWS // (3 * max(1, len(trials)))
    places = {trial_id: place for place, trial_id in enumerate(trials["trial_id"])}
    frame = frame[frame["place"] < most]
    return frame.sort_values("trial_id", key=lambda ids: ids.map(places), kind="stable", ignore_index=True)


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Rows of pictures for each trial."""
    colours = classes(png for column in MAPS for png in frame[column])
    legend = [(name, hex_of(colour)) for name, colour in colours.items()]
    return [
        Pictures(_title(part.iloc[0]), COLUMNS, [_row(row) for row in part.to_dict("records")], legend)
        for _, part in frame.groupby("trial_id", sort=False)
    ]


def _row(row: dict[str, Any]) -> tuple[str, str, list[Picture]]:
    before, after = row["baseline_global_accuracy"], row["pruned_global_accuracy"]
    captions = {
        "image": f"image {row['image_index']}",
        "baseline": f"{before:.1f}",
        "pruned": f"{after:.1f} ({drop_text(row['change'])})",
    }
    shown = [Picture(small(row[column]), captions.get(column, "")) for column in COLUMNS]
    return SAID.get(row["kind"], str(row["kind"])), str(row["trial_id"]), shown


def _title(row: pd.Series) -> str:
    name = joined(row["method"], row["order"], bound_text(row["bound"]), row["context"])
    return f"{name}, seed {row['seed']}"


def draw(frame: pd.DataFrame) -> Figure:
    """One block of rows per trial, one row per picture, and columns for image, label, baseline and pruned."""
    from matplotlib.patches import Patch

    height = max(pixels(png).shape[0] / pixels(png).shape[1] for png in frame["image"])
    trials, measure = list(frame.groupby("trial_id", sort=False)), measure_of(frame["label"])
    rows = [len(part) for _, part in trials]
    row_in = WIDTH_IN * min(1.4, height) + 0.4
    figure = new_figure(0.4 + WIDTH_IN * len(COLUMNS), 0.6 + row_in * len(frame) + 0.5 * len(trials))
    blocks = figure.subfigures(len(trials), 1, squeeze=False, height_ratios=[0.5 + row_in * number for number in rows])
    for (_, part), block in zip(trials, blocks.flat, strict=True):
        block.suptitle(wrapped(_title(part.iloc[0]), WIDTH_IN * len(COLUMNS)), fontsize=10)
        panels = block.subplots(len(part), len(COLUMNS), squeeze=False)
        for axes, column in zip(panels[0], COLUMNS, strict=True):
            axes.set_title(column, fontsize=9)
        for row, row_panels in zip(part.to_dict("records"), panels, strict=True):
            for column, axes in zip(COLUMNS, row_panels, strict=True):
                _picture(axes, row[column])
            before, after = row["baseline_global_accuracy"], row["pruned_global_accuracy"]
            row_panels[0].set_ylabel(SAID.get(row["kind"], row["kind"]))
            row_panels[0].set_xlabel(f"image {row['image_index']}", fontsize=8)
            row_panels[2].set_xlabel(f"{measure} {before:.1f}", fontsize=8)
            row_panels[3].set_xlabel(f"→ {after:.1f} ({drop_text(row['change'])})", fontsize=8)
    colours = classes(png for column in MAPS for png in frame[column])
    colours = colours or {"no box": (1.0, 1.0, 1.0)}
    handles = [Patch(facecolor=colour, edgecolor=GRID) for colour in colours.values()]
    columns = max(2, min(len(handles), int(88 / (5 + max(len(name) for name in colours)))))
    figure.legend(handles, legend_names(colours), loc="outside lower center", ncols=columns)
    return figure


def _picture(axes: Axes, png: bytes) -> None:
    axes.imshow(pixels(png), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(GRID)
