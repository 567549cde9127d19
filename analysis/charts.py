"""What a figure tells the report's page: plain data, drawn in the browser by the file of ``web/`` of the same kind.

A figure's ``charts(frame)`` returns some of these. They know nothing of HTML, colours of the page or pixels. ``trials``
names the trial behind each mark; the page opens it on a click. Unknown numbers are ``None``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Number = float | int | None


@dataclass(frozen=True)
class Axis:
    """One axis of a :class:`Plot`."""

    label: str
    linear_to: float | None = None
    """Logarithmic above this distance from zero; linear everywhere if omitted."""
    ticks: Sequence[str] = ()
    """Names of the places 0, 1, 2 ... of an axis of categories, such as layers."""


@dataclass(frozen=True)
class Series:
    """Points of one look: ``x`` and ``y`` of the same length; ``low`` and ``high`` are the ends of whiskers."""

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    trials: Sequence[str] = ()
    group: str = ""
    """The legend's heading under which ``name`` stands; a click there hides the series of all panels with that name."""
    colour: str = ""
    """As Matplotlib has it, ``#1f6feb``; the page's ink if empty."""
    look: str = "points"
    """``points``, ``hollow`` (points of matched trials), ``line``, ``steps`` or ``dashed``."""
    marker: str = "o"
    """One of ``style.MARKERS``."""
    notes: Sequence[str] = ()
    """More words on each point, shown when it is pointed at."""
    also: Sequence[tuple[str, str]] = ()
    """More legend entries, heading and name, such as the bound that a marker stands for: shown in the page's ink with
    this look and marker. A click there hides all series that have the entry."""


@dataclass(frozen=True)
class Plot:
    """Scatter and curves on two axes (uPlot)."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    lines: Sequence[tuple[float, str]] = ()
    """Dotted horizontal lines and their labels, such as drop bounds."""


@dataclass(frozen=True)
class Bar:
    """One bar; ``name`` gives its legend entry, ``trial`` the trial that a click opens."""

    name: str
    value: Number
    low: Number = None
    high: Number = None
    colour: str = ""
    trial: str = ""
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """Clusters of bars (SVG): ``clusters`` holds a label and its bars, from top to bottom."""

    title: str
    unit: str
    clusters: Sequence[tuple[str, Sequence[Bar]]]
    lines: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Heat:
    """A heat map (SVG): ``values[row][column]``, coloured from ``lowest`` to ``highest``."""

    title: str
    unit: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Number]]
    lowest: float = 0.0
    highest: float = 1.0
    trials: Sequence[str] = ()
    """The trial of each row."""


@dataclass(frozen=True)
class Picture:
    """A picture in a row of :class:`Pictures`; ``png`` holds the file's bytes."""

    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures side by side: a label, the trial and the pictures; ``columns`` stand above them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Picture]]]
    legend: Sequence[tuple[str, str]] = ()
    """Names and colours."""


@dataclass(frozen=True)
class Grid:
    """A small table: head and rows of text; a row's trial opens on a click."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    trials: Sequence[str] = ()


Chart = Plot | Bars | Heat | Pictures | Grid
