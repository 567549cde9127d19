"""Segmented images that pruning improved most, changed least and made worse most."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from raprune.results import Tables

from ..frames import measured_trials, whole_networks, with_trial
from ..labels import bound_text, drop_text, joined, wrapped
from ..segmentation import classes, pixels
from ..style import GRID, legend_names, new_figure

PLACE = 8
TITLE = "What the pruned network sees"
CAPTION = (
    "Validation images whose global accuracy (share of labelled pixels that are right) pruning improved most, changed "
    "least and made worse most: the image, its labels, and what the baseline and the pruned network predict. Below "
    "each row stand its global accuracy before and after, in percent, and the change in points. Shown is the first "
    "trial of each drop bound, for at most three bounds."
)
MAPS = ("label", "baseline", "pruned")
COLUMNS = ("image", *MAPS)
MAX_TRIALS = 3
MAX_ROWS = 9
"""With fewer trials, more pictures of each kind are shown."""
WIDTH_IN = 2.3


def select(tables: Tables) -> pd.DataFrame:
    """Trial_id, what it is, kind, place, image_index, accuracies and their change, and the four PNGs."""
    trials = whole_networks(measured_trials(tables))
    trials = _chosen(trials[trials["trial_id"].isin(tables.pictures["trial_id"])])
    frame = with_trial(tables.pictures, trials, ["method", "order", "bound", "context", "seed"])
    most = MAX_ROWS // (3 * max(1, len(trials)))
    places = {trial_id: place for place, trial_id in enumerate(trials["trial_id"])}
    frame = frame[frame["place"] < most]
    return frame.sort_values("trial_id", key=lambda ids: ids.map(places), kind="stable", ignore_index=True)


def _chosen(trials: pd.DataFrame) -> pd.DataFrame:
    """The first trial of each context and bound, the agent's if there is one; of many, the outer and middle ones."""
    last = [
        (bool(matched), not method.startswith("agent"))
        for matched, method in zip(trials["matched"], trials["method"], strict=True)
    ]
    trials = trials.assign(last=last).sort_values("last", kind="stable")
    firsts = trials.drop_duplicates(["context", "bound"]).sort_index()
    if len(firsts) > MAX_TRIALS:
        firsts = firsts.iloc[[0, len(firsts) // 2, len(firsts) - 1]]
    return firsts


def draw(frame: pd.DataFrame) -> Figure:
    """One block of rows per trial, one row per picture, and columns for image, label, baseline and pruned."""
    height = max(pixels(png).shape[0] / pixels(png).shape[1] for png in frame["image"])
    trials = list(frame.groupby("trial_id", sort=False))
    rows = [len(part) for _, part in trials]
    row_in = WIDTH_IN * min(1.4, height) + 0.4
    figure = new_figure(0.4 + WIDTH_IN * len(COLUMNS), 0.6 + row_in * len(frame) + 0.5 * len(trials))
    blocks = figure.subfigures(len(trials), 1, squeeze=False, height_ratios=[0.5 + row_in * number for number in rows])
    for (_, part), block in zip(trials, blocks.flat, strict=True):
        first = part.iloc[0]
        name = joined(first["method"], first["order"], bound_text(first["bound"]), first["context"])
        block.suptitle(wrapped(f"{name}, seed {first['seed']}", WIDTH_IN * len(COLUMNS)), fontsize=10)
        panels = block.subplots(len(part), len(COLUMNS), squeeze=False)
        for axes, column in zip(panels[0], COLUMNS, strict=True):
            axes.set_title(column, fontsize=9)
        for row, row_panels in zip(part.to_dict("records"), panels, strict=True):
            for column, axes in zip(COLUMNS, row_panels, strict=True):
                _picture(axes, row[column])
            before, after = row["baseline_global_accuracy"], row["pruned_global_accuracy"]
            row_panels[0].set_ylabel(row["kind"])
            row_panels[0].set_xlabel(f"image {row['image_index']}", fontsize=8)
            row_panels[2].set_xlabel(f"global accuracy {before:.1f}", fontsize=8)
            row_panels[3].set_xlabel(f"→ {after:.1f} ({drop_text(row['change'])})", fontsize=8)
    colours = classes(png for column in MAPS for png in frame[column])
    handles = [Patch(facecolor=colour, edgecolor=GRID) for colour in colours.values()]
    columns = max(2, min(len(handles), int(88 / (5 + max(len(name) for name in colours)))))
    figure.legend(handles, legend_names(colours), loc="outside lower center", ncols=columns)
    return figure


def _picture(axes: Axes, png: bytes) -> None:
    axes.imshow(pixels(png), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(GRID)
