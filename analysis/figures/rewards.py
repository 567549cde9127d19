"""Mean reward against updates, for every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..charts import Chart
from ..updates import by_update, draw_updates, update_charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 7
TITLE = "What the agents learned: reward"
CAPTION = (
    "Mean reward of the masks sampled for each update. Above zero a mask prunes within the drop bound; a flat line "
    "means that the agent samples the same mask every time. One that stopped early counts with its last update."
)


def select(tables: Tables) -> pd.DataFrame:
    """Layer_index, layer, bound, series, update, value (mean reward)."""
    return by_update(tables, "reward_mean")


def draw(frame: pd.DataFrame) -> Figure:
    """One small panel per layer."""
    return draw_updates(frame, "mean reward")


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Curves for each layer."""
    return update_charts(frame, "mean reward")
