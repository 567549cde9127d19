"""Charts as plain data for the page: short numbers, no defaults, long curves thinned."""

from __future__ import annotations

import base64
import math
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from ..charts import Chart, Picture, Plot, Series

DIGITS = 6
"""Significant digits of a number in the page."""
MOST_POINTS = 300
"""A curve of more points is thinned to about so many; single points never are."""
CURVES = ("line", "steps", "dashed")


def encoded(chart: Chart) -> dict[str, Any]:
    """What the file of ``web/`` of the same kind draws."""
    if isinstance(chart, Plot):
        chart = replace(chart, series=[thinned(series) for series in chart.series])
    return {"kind": type(chart).__name__.lower(), **plain(chart)}


def plain(value: Any) -> Any:
    """Of JSON's types: dataclasses become mappings without what is left at its default, unknown numbers ``None``."""
    if isinstance(value, Picture):
        png = base64.b64encode(value.png).decode()
        return {"png": f"data:image/png;base64,{png}", "caption": value.caption}
    if is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: plain(own) for field, own in pairs if field.default is MISSING or own != field.default}
    if isinstance(value, dict):
        return {str(key): plain(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inside) for inside in value]
    if hasattr(value, "tolist"):  # of numpy and pandas
        return plain(value.tolist())
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def thinned(series: Series) -> Series:
    """A curve with the lowest and the highest point of each of so many stretches; others as they are."""
    number = len(series.x)
    if series.look not in CURVES or number <= MOST_POINTS:
        return series
    stretches = MOST_POINTS // 2
    kept = {0, number - 1}
    for place in range(stretches):
        stretch = range(place * number // stretches, (place + 1) * number // stretches)
        known = [i for i in stretch if series.y[i] is not None and math.isfinite(series.y[i])]
        if known:
            kept |= {min(known, key=lambda i: series.y[i]), max(known, key=lambda i: series.y[i])}
    chosen = sorted(kept)
    columns = ("x", "y", "low", "high", "trials", "notes")
    found = {name: list(getattr(series, name)) for name in columns}
    return replace(series, **{name: [values[i] for i in chosen] for name, values in found.items() if values})
