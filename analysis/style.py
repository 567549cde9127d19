"""One look for all figures: colours by method, order and bound, light grids, no chart junk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .labels import in_bound_order

if TYPE_CHECKING:  # Matplotlib is imported where a file is drawn, not for the page
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

RC: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "raprune",
}
"""Matplotlib's settings while the report is drawn; the salt makes the same rows the same SVG."""
INK, SOFT, GRID = "#24292f", "#57606a", "#d0d7de"
METHOD_COLOURS = {"agent": "#1f6feb", "magnitude": "#e8833a", "random": "#7d8590"}
OTHER_COLOURS = ("#2da44e", "#a475f9", "#d4493e", "#0a9396", "#b08800", "#bf3989")
ORDER_COLOURS = ("#46628f", "#c9a227", "#7f9c6b", "#a05c7b", "#5f5f5f", "#8fb8c9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_BOUNDS = ("#2fae9e", "#3d7fc1", "#5b4fa2", "#6a1450")


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Our methods have the same colour in every figure; others are coloured in order of appearance."""
    others = [method for method in methods if method not in METHOD_COLOURS]
    own = {method: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, method in enumerate(others)}
    return {method: METHOD_COLOURS.get(method) or own[method] for method in methods}


def order_colours(orders: Sequence[str]) -> dict[str, str]:
    """Colours that no method and no bound has."""
    return {order: ORDER_COLOURS[i % len(ORDER_COLOURS)] for i, order in enumerate(orders)}


def bound_colours(bounds: Sequence[str]) -> dict[str, str]:
    """Light for the tightest bound, dark for the loosest."""
    ordered = in_bound_order(bounds)
    last = max(1, len(ordered) - 1)
    return {bound: _between(_BOUNDS, i / last) for i, bound in enumerate(ordered)}


def _between(colours: Sequence[str], share: float) -> str:
    """The colour at a share, 0 to 1, of the way through ``colours``."""
    place = min(int(share * (len(colours) - 1)), len(colours) - 2)
    rest = share * (len(colours) - 1) - place
    ends = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours[place : place + 2]]
    return as_hex([low + rest * (high - low) for low, high in zip(*ends, strict=True)])


def as_hex(colour: Iterable[float]) -> str:
    """Red, green and blue, each 0 to 1, as ``#1f6feb``."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the report, in inches; needs no screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """Two spines and a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)


def grouped_legend(figure: Figure, groups: Mapping[str, Mapping[str, Artist]]) -> None:
    """A legend below the figure with one column per group: its name, then its entries. A single group is a row."""
    if len(groups) == 1:
        ((title, only),) = groups.items()
        columns = min(6, len(only))
        figure.legend([*only.values()], legend_names(only), title=title, loc="outside lower center", ncols=columns)
        return
    longest = max(len(entries) for entries in groups.values())
    handles: list[Artist] = []
    labels: list[str] = []
    for name, entries in groups.items():
        blanks = longest - len(entries)
        handles += [_blank(), *entries.values(), *(_blank() for _ in range(blanks))]
        labels += [name, *legend_names(entries), *[""] * blanks]
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=len(groups), columnspacing=3)
    for label in legend.get_texts():
        if label.get_text() in groups:
            label.set_fontweight("bold")


def legend_names(names: Iterable[str]) -> list[str]:
    """Names as a legend shows them; Matplotlib leaves out those that start with an underscore."""
    return [f" {name}" if name.startswith("_") else name for name in names]


def _blank() -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="")
