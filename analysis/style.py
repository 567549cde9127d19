"""One look for all figures: colours by method and by bound, light grids, no chart junk."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

METHOD_COLOURS = {"agent": "#1f6feb", "magnitude": "#e8833a", "random": "#8b949e"}
OTHER_COLOURS = ("#2da44e", "#a475f9", "#d4493e", "#0a9396")
BOUND_COLOURS = ("#7cc0f5", "#3d8fdb", "#1f5fae", "#133a75", "#0a1f44")
MARKERS = ("o", "s", "^", "D", "v", "P")


def method_colour(method: str, methods: Sequence[str]) -> str:
    """The same colour for a method in every figure."""
    if method in METHOD_COLOURS:
        return METHOD_COLOURS[method]
    others = [m for m in methods if m not in METHOD_COLOURS]
    return OTHER_COLOURS[others.index(method) % len(OTHER_COLOURS)]


def bound_colours(bounds: Sequence[float]) -> dict[float, str]:
    """Light for the tightest bound, dark for the loosest."""
    last = len(BOUND_COLOURS) - 1
    step = last / max(1, len(bounds) - 1)
    return {bound: BOUND_COLOURS[min(last, round(i * step))] for i, bound in enumerate(sorted(bounds))}


def new_figure(width: float, height: float) -> Figure:
    """A figure of the report, in inches, with its fonts and without a screen."""
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "svg.fonttype": "none", "legend.frameon": False})
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """Two spines and a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#d0d7de", linewidth=0.5)
    axes.set_axisbelow(True)
