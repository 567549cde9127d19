"""Multiply-adds removed against score lost, with what the paper published."""

from __future__ import annotations

from .. import removed
from ..published import published_for

PLACE = 2
TITLE = "Multiply-adds removed against score lost"
CAPTION = f"{removed.CAPTION} Hollow grey ones, shown where network and data are the paper's, are what it published."
COST = removed.Removed("macs", "multiply-adds", published_for)
select, charts, draw = COST.select, COST.charts, COST.draw
