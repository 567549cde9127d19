"""A figure as a section of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from types import ModuleType

import pandas as pd

from ..charts import Chart
from .encode import encoded
from .section import Section

WEB = {
    "Plot": ("uPlot.iife.min.js", "paint.js", "plot.js"),
    "Bars": ("bars.js",),
    "Heat": ("heat.js",),
    "Pictures": ("pictures.js",),
    "Grid": ("grid.js",),
}
"""The files that draw a kind of chart."""


def figure_section(module: ModuleType, frame: pd.DataFrame, files: Sequence[str] = ()) -> Section:
    """The section of a figure that has data; ``files`` are those that were written beside the page."""
    charts: list[Chart] = module.charts(frame)
    links = "".join(f' <a href="{escape(file)}">{escape(file.rpartition(".")[2].upper())}</a>' for file in files)
    caption = f'<p class="caption">{escape(module.CAPTION)}{f"<span class=files>{links}</span>" if links else ""}</p>'
    web = dict.fromkeys(name for chart in charts for name in WEB[type(chart).__name__])
    return Section(
        id=module.__name__.rpartition(".")[2],
        title=module.TITLE,
        body=f'{caption}<div class="charts"></div>',
        data=[encoded(chart) for chart in charts],
        start="charts",
        web=tuple(web),
        kind="figure",
    )


def nothing_for(modules: Sequence[ModuleType]) -> str:
    """A line that names the figures without data."""
    return f"No data for: {'; '.join(module.TITLE for module in modules)}." if modules else ""
