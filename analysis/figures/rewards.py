"""Mean reward against updates, for every layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..updates import NOTE, by_update, draw_updates

PLACE = 9
TITLE = "What the agents learned: reward"
CAPTION = (
    "Mean reward (no unit) of the masks sampled for each update; one panel per layer, from the input to the output. A "
    "mask earns more than zero if it prunes and stays within the drop bound. If a line is flat, the agent samples the "
    f"same mask every time. {NOTE}"
)


def select(tables: Tables) -> pd.DataFrame:
    """Layer_index, layer, bound, series, update, value (mean reward)."""
    return by_update(tables, "reward_mean")


def draw(frame: pd.DataFrame) -> Figure:
    """One small panel per layer."""
    return draw_updates(frame, "mean reward")
