"""What is removed of a cost of the network, such as multiply-adds, against the score lost: figures share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from raprune.results import Tables

from .charts import Axis, Chart, Plot, Series
from .frames import by_split, completed_trials, whole_networks
from .labels import NO_BOUND, bounds_label, in_bound_order, in_order, joined, score_drop_label, wrapped
from .marks import numbers
from .published import SOURCE
from .style import INK, MARKERS, SOFT, grouped_legend, method_colours, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Panel
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CAPTION = (
    "Each point is a trial; further right and lower is better. Hollow points are matched: they prune as many filters "
    "of every layer as their partner and have no bound."
)
LOGARITHMIC_FROM = 3
"""Drops of more than so many times the largest bound get a logarithmic scale, as they would flatten the rest."""
FRONT = "Pareto front"


@dataclass(frozen=True)
class Removed:
    """A cost of a network."""

    column: str
    """Its column of the trial table; the baseline's has ``baseline_`` before it."""
    words: str
    published: Callable[[Mapping[Any, Any]], Sequence[tuple[float, float, float]]] = lambda trial: ()
    """Of a trial's network, by others: drop bound, score drop, share removed."""

    @property
    def axis(self) -> str:
        return f"{self.words} removed (%)"

    def select(self, tables: Tables) -> pd.DataFrame:
        """One row a trial and split: what it is, removed, score_drop, pareto; and the ``published`` points."""
        return _select(tables, self)

    def charts(self, frame: pd.DataFrame) -> list[Chart]:
        """A plot for each context and split."""
        return _charts(frame, self.axis)

    def draw(self, frame: pd.DataFrame) -> Figure:
        """A column for each split, a row for each context."""
        return _draw(frame, self.axis)


def pareto(ratio: pd.Series, drop: pd.Series) -> pd.Series:
    """True where no other trial prunes at least as much and loses at most as much, one of them strictly."""
    ratios, drops = ratio.to_numpy(), drop.to_numpy()
    better = [
        bool(((ratios >= r) & (drops <= d) & ((ratios > r) | (drops < d))).any())
        for r, d in zip(ratios, drops, strict=True)
    ]
    return ~pd.Series(better, index=ratio.index, dtype=bool)


def _select(tables: Tables, cost: Removed) -> pd.DataFrame:
    frame = by_split(whole_networks(completed_trials(tables)))
    left = frame[cost.column].astype(float) / frame[f"baseline_{cost.column}"].astype(float)
    frame = frame.assign(removed=1 - left, published=False)
    front = pd.Series(False, index=frame.index)
    for _, part in frame.groupby(["context", "scope", "split"], sort=False):
        front[part.index] = pareto(part["removed"], part["score_drop"])
    frame = frame.assign(pareto=front)
    columns = ["trial_id", "split", "context", "scope", "method", "matched", "bound", "order", "seed"]
    columns += ["score_name", "unit", "removed", "score_drop", "pareto", "published"]
    theirs = [row for _, part in frame.groupby("context", sort=False) for row in _published(part, cost)]
    found = frame[columns].astype({"pareto": bool, "published": bool})
    return pd.concat([found, pd.DataFrame(theirs, columns=columns).astype(found.dtypes)]) if theirs else found


def _published(part: pd.DataFrame, cost: Removed) -> list[dict[str, Any]]:
    """Published points of the networks in one context, beside the test scores where there are any."""
    split = "test" if (part["split"] == "test").any() else "validation"
    row = part[part["split"] == split].iloc[0].to_dict()
    own = {"split": split, "method": SOURCE, "matched": False, "trial_id": "", "order": "", "pareto": False}
    kept = ("context", "scope", "seed", "score_name", "unit")
    return [
        {name: row[name] for name in kept}
        | own
        | {"bound": f"{bound:g}", "score_drop": drop, "removed": removed, "published": True}
        for bound, drop, removed in cost.published(row)
    ]


def _charts(frame: pd.DataFrame, axis: str) -> list[Chart]:
    colours, markers = _colours(frame), _markers(frame)
    found: list[Chart] = []
    for (context, split), part in frame.groupby(["context", "split"], sort=False):
        series = [
            _series(of, colours[method], markers[bound], bounds_label(frame))
            for (method, bound, _), of in part.groupby(["method", "bound", "matched"], sort=False)
        ]
        x, y = Axis(axis), Axis(score_drop_label(frame), _linear_to(frame))
        lines = [(float(bound), f"bound {bound}") for bound in _own_bounds(part)]
        found.append(Plot(joined(split, context), x, y, [*_steps(part), *series], lines))
    return found


def _series(of: pd.DataFrame, colour: str, marker: str, bounds: str) -> Series:
    first = of.iloc[0]
    kind = "published" if first["published"] else "matched to a partner" if first["matched"] else "searched"
    hollow = first["matched"] or first["published"]
    return Series(
        str(first["method"]),
        numbers(100 * of["removed"]),
        numbers(of["score_drop"]),
        trials=() if first["published"] else [str(name) for name in of["trial_id"]],
        group="method",
        also=[(bounds, str(first["bound"])), ("trial", kind)],
        colour=colour,
        look="hollow" if hollow else "points",
        marker=marker,
    )


def _steps(part: pd.DataFrame) -> list[Series]:
    front = _front(part)
    if front.empty:
        return []
    left = part.loc[~part["published"], "removed"].min()
    start = front.iloc[:1].assign(removed=left)  # to the left the front's lowest drop holds
    front = pd.concat([start[start["removed"] < front["removed"].iloc[0]], front])
    x, y = numbers(100 * front["removed"]), numbers(front["score_drop"])
    return [Series(FRONT, x, y, group="trial", look="steps")]


def _front(part: pd.DataFrame) -> pd.DataFrame:
    """The front from left to right; none where trials of different layers would share it."""
    own = part[~part["published"]]
    front = own[own["pareto"] & (own["scope"].nunique() == 1)].sort_values(["removed", "score_drop"])
    return front.drop_duplicates(["removed", "score_drop"])


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    return method_colours(in_order(frame.loc[~frame["published"], "method"])) | {SOURCE: SOFT}


def _markers(frame: pd.DataFrame) -> dict[str, str]:
    return {bound: MARKERS[i % len(MARKERS)] for i, bound in enumerate(in_bound_order(frame["bound"]))}


def _own_bounds(part: pd.DataFrame) -> list[str]:
    """The drop bounds of the study's trials, the tightest first."""
    return [bound for bound in in_bound_order(part.loc[~part["published"], "bound"]) if bound != NO_BOUND]


def _linear_to(frame: pd.DataFrame) -> float | None:
    """Where the scale of drops becomes logarithmic; ``None`` for nowhere."""
    largest = max((float(bound) for bound in frame["bound"] if bound != NO_BOUND), default=float("inf"))
    return largest if frame["score_drop"].abs().max() > LOGARITHMIC_FROM * largest else None


def _draw(frame: pd.DataFrame, axis: str) -> Figure:
    from matplotlib.lines import Line2D

    splits, contexts = in_order(frame["split"]), in_order(frame["context"])
    colours, markers = _colours(frame), _markers(frame)
    figure = new_figure(max(6.4, 5.4 * len(splits)), 1.2 + 3.6 * len(contexts))
    panels = figure.subplots(len(contexts), len(splits), sharex=True, sharey=True, squeeze=False)
    if (linear := _linear_to(frame)) is not None:
        panels[0][0].set_yscale("symlog", linthresh=linear, linscale=1.5)
    for context, row in zip(contexts, panels, strict=True):
        for split, panel in zip(splits, row, strict=True):
            _panel(panel, frame[(frame["split"] == split) & (frame["context"] == context)], colours, markers)
            panel.set_title(wrapped(joined(split, context), 5.4))
        row[0].set_ylabel(score_drop_label(frame))
    for panel in panels[-1]:
        panel.set_xlabel(axis)
    methods = {method: _point("o", colour) for method, colour in colours.items() if method in set(frame["method"])}
    bounds = {bound: _point(marker, SOFT) for bound, marker in markers.items()}
    line = {FRONT: Line2D([], [], color=INK, linewidth=1.5)}
    grouped_legend(figure, {"method": methods, bounds_label(frame): bounds, "trial": line})
    return figure


def _panel(panel: Panel, part: pd.DataFrame, colours: dict[str, str], markers: dict[str, str]) -> None:
    panel.axhline(0, color=SOFT, linewidth=0.6, zorder=1)
    for bound in _own_bounds(part):
        panel.axhline(float(bound), color=SOFT, linewidth=0.8, linestyle=":", zorder=1)
    kinds = ["method", "bound", "matched", "published"]
    for (method, bound, matched, published), of in part.groupby(kinds, sort=False):
        panel.scatter(
            100 * of["removed"],
            of["score_drop"],
            s=48,
            marker=markers[bound],
            facecolors="none" if matched or published else colours[method],
            edgecolors=colours[method],
            zorder=3,
        )
    front = _front(part)
    panel.step(100 * front["removed"], front["score_drop"], where="pre", color=INK, linewidth=1.5, zorder=2)
    tidy(panel)


def _point(marker: str, colour: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker=marker, markersize=7, color=colour)
