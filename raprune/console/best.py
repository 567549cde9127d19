"""What a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raprune.console.labels import trial_label
from raprune.study.search import SearchSpec, number


def best_sentence(search: SearchSpec, rows: Sequence[Mapping[Any, Any]], axes: Mapping[str, Mapping[str, str]]) -> str:
    """The best completed trial of a search, from the rows of its trials; says so where none is within the limits."""
    known = [{key: None if _is_null(value) else value for key, value in row.items()} for row in rows]
    found = [(at, row) for row in known if row["status"] == "completed" and (at := search.standing(row)) is not None]
    if not found:
        return "the search found nothing yet: no trial has the columns that it compares"
    (missed, _), best = min(found, key=lambda one: one[0])
    name = trial_label(axes.get(str(best["trial_id"]), {}))
    columns = dict.fromkeys([search.goal[0], *search.at_most, *search.at_least])
    values = ", ".join(f"{column} {number(best, column):.4g}" for column in columns)
    said = "the best trial" if missed == 0 else "no trial is within the limits; the nearest"
    return f"{said}: {best['trial_id']} ({name}): {values}"


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and pd.isna(value))
