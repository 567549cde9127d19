"""Parameters removed against score lost."""

from __future__ import annotations

from .. import removed

PLACE = 3
TITLE = "Parameters removed against score lost"
CAPTION = removed.CAPTION
COST = removed.Removed("params", "parameters")
select, charts, draw = COST.select, COST.charts, COST.draw
