"""Mean pruning ratio of the sampled masks against updates, for every layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..updates import NOTE, by_update, draw_updates

PLACE = 10
TITLE = "What the agents learned: pruning ratio"
CAPTION = (
    "Mean share of the layer's filters pruned by the masks sampled for each update; one panel per layer. The committed "
    f"mask may prune more, because it is decided after the last update. {NOTE}"
)


def select(tables: Tables) -> pd.DataFrame:
    """Layer_index, layer, bound, series, update, value (percent of filters pruned)."""
    frame = by_update(tables, "pruning_ratio_mean")
    return frame.assign(value=100 * frame["value"])


def draw(frame: pd.DataFrame) -> Figure:
    """A small panel a layer."""
    return draw_updates(frame, "filters pruned (%)")
