"""Mean reward against updates, for every layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables

from ..updates import by_update, draw_updates

PLACE = 4
TITLE = "What the agents learned: reward"
CAPTION = "Mean reward of each update's masks, one panel a layer. Above zero a mask is within the drop bound and prunes."


def select(tables: Tables) -> pd.DataFrame:
    """Layer, bound, order, update, value (mean reward)."""
    return by_update(tables, "reward_mean")


def draw(frame: pd.DataFrame) -> Figure:
    """A small panel a layer."""
    return draw_updates(frame, "mean reward", zero_line=True)
