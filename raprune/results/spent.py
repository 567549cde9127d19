"""What a trial spent on its choice of filters, as tables and figures show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

UNITS = (("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9))


def candidates_in_all(row: Mapping[Any, Any]) -> float:
    """Masks scored for a trial: its layers' candidates and its order's; NaN for a trial without numbers.

    Results that are older than ``num_order_candidates`` do not tell the order's, which are then left out.
    """
    asked, for_order = row["num_candidates"], row["num_order_candidates"]
    return float("nan") if pd.isna(asked) else asked + (0 if pd.isna(for_order) else for_order)


def short_count(number: float | None) -> str:
    """A count in three digits: ``187``, ``2.28k``, ``56.7k``, ``1.2M``; empty where it is unknown."""
    if number is None or pd.isna(number):
        return ""
    unit, size = next(((unit, size) for unit, size in UNITS if number < 999.5 * size), UNITS[-1])
    return f"{number / size:.3g}{unit}"
