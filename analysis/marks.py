"""From the numbers of a frame to what the page draws: plain numbers, unknown ones ``None``, and clusters of bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .charts import Bar, Number
from .labels import in_order

DIGITS = 5
"""Significant digits of a number on the page."""


def number(value: Any) -> Number:
    """A plain number of five significant digits; ``None`` for NaN, infinities and nulls. Whole numbers stay whole."""
    if value is None or pd.isna(value) or not np.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(f"{value:.{DIGITS}g}")


def numbers(values: Iterable[Any]) -> list[Number]:
    """:func:`number` of each."""
    return [number(value) for value in values]


def thinned(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, spread evenly, the first and the last among them."""
    if len(frame) <= most:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, most).round().astype(int)]


def whiskers(row: Mapping[Any, Any]) -> tuple[Number, Number]:
    """The ends of a whisker; none for a single trial."""
    if row["num_trials"] < 2:
        return None, None
    return number(row["lowest"]), number(row["highest"])


def clusters(frame: pd.DataFrame, group: str, series: str, colours: Mapping[str, str]) -> list[tuple[str, list[Bar]]]:
    """Clusters of bars as :func:`analysis.bars.grouped_bars` draws them, from the same columns.

    A bar opens the first of its trials (``trial_id``); ``note``, where the frame has it, is shown beside the value.
    """
    found = []
    for name in in_order(frame[group]):
        part = frame[frame[group] == name]
        rows = [row for of in colours for row in part[part[series] == of].to_dict("records")]
        found.append((one_line(str(name)), [_bar(row, str(row[series]), colours[row[series]]) for row in rows]))
    return found


def _bar(row: Mapping[Any, Any], name: str, colour: str) -> Bar:
    low, high = whiskers(row)
    note = [str(row.get("note", ""))]
    note += [f"mean of {row['num_trials']} trials"] if row["num_trials"] > 1 else []
    return Bar(name, number(row["value"]), low, high, colour, str(row["trial_id"]), ", ".join(filter(None, note)))


def one_line(words: str) -> str:
    """Lines of a label, with commas."""
    return ", ".join(filter(None, words.split("\n")))
