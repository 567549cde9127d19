"""The first layer's filters, those pruned struck out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raprune.results import Tables

from ..charts import Chart, Picture, Pictures
from ..ends import layers_at_end
from ..frames import completed_trials, with_trial
from ..labels import joined, trial_words, wrapped
from ..marks import one_line
from ..sheet import FULL, STRUCK, levels_of, sheet
from ..style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 14
TITLE = "The first layer's filters"
CAPTION = (
    "The filters that read the image, as they were when the layer was decided, those pruned struck out. All of a trial "
    "are on one scale: a grey filter has small weights."
)
MOST_TRIALS = 8
WIDTH_IN = 7.0


def select(tables: Tables) -> pd.DataFrame:
    """Trial_id, trial (in words), layer, num_filters, num_pruned and the picture, a PNG; one seed of each setting."""
    layers = layers_at_end(tables)
    layers = layers[layers["filter_weights"].notna()]
    trials = completed_trials(tables)
    trials = trials[trials["trial_id"].isin(layers["trial_id"])]
    trials = trials.assign(trial=[one_line(trial_words(row)) for row in trials.to_dict("records")])
    trials = trials.drop_duplicates("trial").iloc[:MOST_TRIALS]
    frame = with_trial(layers, trials, ["trial"])
    frame = frame.assign(
        num_pruned=frame["num_filters"] - frame["num_kept"],
        picture=[_sheet(row) for row in frame.to_dict("records")],
        place=frame["trial_id"].map({name: place for place, name in enumerate(trials["trial_id"])}),
    )
    columns = ["trial_id", "trial", "layer", "num_filters", "num_pruned", "picture"]
    return frame.sort_values("place", kind="stable", ignore_index=True)[columns]


def _sheet(row: dict[str, Any]) -> bytes:
    weights = np.asarray(row["filter_weights"], dtype=float).reshape(row["num_filters"], *map(int, row["filter_shape"]))
    return sheet(weights, list(row["keep_mask"]))


def _pruned(row: dict[str, Any]) -> str:
    return f"{row['num_pruned']} of {row['num_filters']} pruned"


def charts(frame: pd.DataFrame) -> list[Chart]:
    """One picture for each trial."""
    rows = [
        (joined(row["trial"], _pruned(row)), str(row["trial_id"]), [Picture(row["picture"])])
        for row in frame.to_dict("records")
    ]
    return [Pictures("", [str(frame["layer"].iloc[0])], rows, [("pruned", "#{:02x}{:02x}{:02x}".format(*STRUCK))])]


def draw(frame: pd.DataFrame) -> Figure:
    """One row for each trial."""
    from matplotlib.patches import Patch

    images = [levels_of(png) for png in frame["picture"]]
    widths = [max(FULL, image.shape[1]) for image in images]  # all filters at one size
    heights = [0.5 + WIDTH_IN * image.shape[0] / width for image, width in zip(images, widths, strict=True)]
    figure = new_figure(WIDTH_IN + 0.4, 0.6 + sum(heights))
    panels = figure.subplots(len(images), 1, squeeze=False, height_ratios=heights)
    for row, image, width, axes in zip(frame.to_dict("records"), images, widths, panels.flat, strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_title(wrapped(joined(row["trial"], _pruned(row)), WIDTH_IN))
        axes.set_ylabel("filters")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    red = tuple(value / 255 for value in STRUCK)
    figure.legend([Patch(color=red)], ["pruned"], loc="outside lower center")
    return figure
