"""What holds for the charts of every figure: plain data that fit together."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, get_args

import pandas as pd

from analysis.charts import Bars, Chart, Grid, Heat, Pictures, Plot
from analysis.style import MARKERS

LOOKS = {"points", "hollow", "line", "steps", "dashed"}


def plain(value: Any) -> Any:
    """As JSON has it; pictures as their length."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return len(value) if isinstance(value, bytes) else value


def fitting_charts(module: ModuleType, frame: pd.DataFrame, known: set[str]) -> list[Chart]:
    """The charts that a figure makes of ``frame``, which it leaves as it is; they name ``known`` trials only."""
    before = frame.copy(deep=True)
    found: list[Chart] = module.charts(frame)
    assert found
    for chart in found:
        assert isinstance(chart, get_args(Chart))
        assert json.loads(json.dumps(plain(chart), allow_nan=False)) == plain(chart)
        CHECKS[type(chart)](chart, known)
    assert before.equals(frame)
    return found


def check_plot(plot: Plot, known: set[str]) -> None:
    assert plot.series
    assert plot.x.label
    assert plot.y.label
    for series in plot.series:
        assert len(series.x) == len(series.y) > 0
        for more in (series.low, series.high, series.trials, series.notes):
            assert len(more) in (0, len(series.x))
        assert series.look in LOOKS
        assert series.marker in MARKERS
        assert set(series.trials) <= known
        assert not series.colour or series.colour.startswith("#")
        assert all(len(entry) == 2 for entry in series.also)


def check_bars(bars: Bars, known: set[str]) -> None:
    assert bars.unit
    assert bars.clusters
    for label, members in bars.clusters:
        assert label.strip()
        assert "\n" not in label
        assert members
        assert {bar.trial for bar in members} <= known
        assert all((bar.low is None) == (bar.high is None) for bar in members)


def check_heat(heat: Heat, known: set[str]) -> None:
    assert len(heat.values) == len(heat.rows) == len(heat.trials)
    assert {len(row) for row in heat.values} == {len(heat.columns)}
    assert all(heat.lowest <= value <= heat.highest for row in heat.values for value in row if value is not None)
    assert set(heat.trials) <= known


def check_pictures(shown: Pictures, known: set[str]) -> None:
    for label, trial, row in shown.rows:
        assert label
        assert trial in known
        assert len(row) == len(shown.columns)
        assert all(picture.png.startswith(b"\x89PNG") for picture in row)


def check_grid(table: Grid, known: set[str]) -> None:
    assert {len(row) for row in table.rows} <= {len(table.head)}
    assert set(table.trials) <= known


CHECKS: dict[Any, Any] = {
    Plot: check_plot, Bars: check_bars, Heat: check_heat, Pictures: check_pictures, Grid: check_grid,
}  # fmt: skip
