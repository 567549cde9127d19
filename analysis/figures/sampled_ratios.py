"""Mean pruning ratio of the sampled masks against updates, for every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..charts import Chart
from ..updates import by_update, draw_updates, update_charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 8
TITLE = "What the agents learned: pruning ratio"
CAPTION = (
    "Mean share of the layer's filters pruned by the masks sampled for each update. The committed mask may prune more: "
    "it is decided after the last update."
)


def select(tables: Tables) -> pd.DataFrame:
    """Layer_index, layer, bound, series, update, value (percent of filters pruned)."""
    frame = by_update(tables, "pruning_ratio_mean")
    return frame.assign(value=100 * frame["value"])


def draw(frame: pd.DataFrame) -> Figure:
    """A small panel a layer."""
    return draw_updates(frame, "filters pruned (%)")


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Curves for each layer."""
    return update_charts(frame, "filters pruned (%)")
