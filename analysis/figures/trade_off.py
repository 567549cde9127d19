"""Pruning ratio against score drop, every method and bound, with the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..charts import Axis, Plot, Series
from ..frames import asked_by, by_split, completed_trials, whole_networks, with_candidates
from ..labels import NO_BOUND, bounds_label, in_bound_order, in_order, joined, score_drop_label, wrapped
from ..removed import pareto
from ..style import INK, MARKERS, SOFT, grouped_legend, method_colours, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PLACE = 1
TITLE = "How much can be pruned, and what it costs"
CAPTION = (
    "Each point is a trial: the share of filters pruned against the score lost; further right and lower is better. "
    "Dotted lines are the drop bounds, which hold on validation; test images chose nothing. A hollow point is matched: "
    "it has no bound itself, and its shape shows its partner's. The line is the Pareto front: no trial prunes more and "
    "loses less than those on it. The legend counts the candidates that a trial of each method asked for, those of its "
    "order included. Trials that decide one layer each are not shown."
)
LOGARITHMIC_FROM = 3
"""Drops of more than so many times the largest bound would flatten the rest: they get a logarithmic scale."""


def select(tables: Tables) -> pd.DataFrame:
    """One row a trial and split: what it is, pruning_ratio, score_drop, pareto."""
    frame = by_split(whole_networks(completed_trials(tables)))
    front = pd.Series(False, index=frame.index)
    for _, part in frame.groupby(["context", "scope", "split"], sort=False):
        front[part.index] = pareto(part["pruning_ratio"], part["score_drop"])
    columns = ["trial_id", "split", "context", "scope", "method", "matched", "bound", "order", "seed"]
    columns += ["score_name", "unit", "pruning_ratio", "score_drop", "num_candidates"]
    frame = with_candidates(frame)
    return frame.assign(pareto=front)[[*columns, "pareto"]]


def charts(frame: pd.DataFrame) -> list[Plot]:
    """A panel for each context and split: points, the front as steps, the bounds as dotted lines."""
    bounds = in_bound_order(frame["bound"])
    markers = {bound: MARKERS[i % len(MARKERS)] for i, bound in enumerate(bounds)}
    colours = method_colours(in_order(frame["method"]))
    asked = {name: joined(name, asked_by(frame[frame["method"] == name])) for name in colours}
    y = Axis(score_drop_label(frame), linear_to=_linear_to(frame))
    panels = []
    for (context, split), part in frame.groupby(["context", "split"], sort=False):
        points = [
            Series(
                asked[method],
                (100 * group["pruning_ratio"]).tolist(),
                group["score_drop"].tolist(),
                trials=group["trial_id"].tolist(),
                group="method",
                also=[(bounds_label(frame), bound), ("trial", "matched to a partner" if matched else "searched")],
                colour=colours[method],
                look="hollow" if matched else "points",
                marker=markers[bound],
            )
            for (method, bound, matched), group in part.groupby(["method", "bound", "matched"], sort=False)
        ]
        lines = [(float(bound), f"bound {bound}") for bound in in_bound_order(part["bound"]) if bound != NO_BOUND]
        panels.append(Plot(joined(split, context), Axis("filters pruned (%)"), y, [*_front_line(part), *points], lines))
    return panels


def _front_line(part: pd.DataFrame) -> list[Series]:
    if not _has_front(part):
        return []
    front = part[part["pareto"]].sort_values("pruning_ratio")
    x, y = (100 * front["pruning_ratio"]).tolist(), front["score_drop"].tolist()
    left = 100 * part["pruning_ratio"].min()
    start = [left] if left < x[0] else []
    return [Series("Pareto front", [*start, *x], [*y[: len(start)], *y], group="trial", look="steps")]


def _linear_to(frame: pd.DataFrame) -> float | None:
    """The distance from zero above which drops that would flatten the rest are drawn on a logarithmic scale."""
    linear = max((float(bound) for bound in set(frame["bound"]) - {NO_BOUND}), default=float("inf"))
    return linear if frame["score_drop"].abs().max() > LOGARITHMIC_FROM * linear else None


def draw(frame: pd.DataFrame) -> Figure:
    """A column for each split, a row for each context."""
    splits, contexts = in_order(frame["split"]), in_order(frame["context"])
    left, right = 100 * frame["pruning_ratio"].min(), 100 * frame["pruning_ratio"].max()
    margin = max(2.5, 0.05 * (right - left))
    bounds = in_bound_order(frame["bound"])
    markers = {bound: MARKERS[i % len(MARKERS)] for i, bound in enumerate(bounds)}
    colours = method_colours(in_order(frame["method"]))
    figure = new_figure(max(6.4, 5.4 * len(splits)), 1.2 + 3.6 * len(contexts))
    panels = figure.subplots(len(contexts), len(splits), sharex=True, sharey=True, squeeze=False)
    ylabel = _scale(panels[0][0], frame)
    for context, row in zip(contexts, panels, strict=True):
        for split, axes in zip(splits, row, strict=True):
            part = frame[(frame["split"] == split) & (frame["context"] == context)]
            _panel(axes, part, colours, markers)
            _front(axes, part, left - margin)
            axes.set_title(wrapped(joined(split, context), 5.4))
        row[0].set_ylabel(ylabel)
    panels[0][0].set_xlim(left - margin, right + margin)
    for axes in panels[-1]:
        axes.set_xlabel("filters pruned (%)")
    grouped_legend(figure, _legend(frame, colours, markers))
    return figure


def _panel(axes: Axes, part: pd.DataFrame, colours: dict[str, str], markers: dict[str, str]) -> None:
    axes.axhline(0, color=SOFT, linewidth=0.6, zorder=1)
    for bound in in_bound_order(part["bound"]):
        if bound != NO_BOUND:
            axes.axhline(float(bound), color=SOFT, linewidth=0.8, linestyle=":", zorder=1)
            axes.annotate(
                f" bound {bound}",
                (1, float(bound)),
                xycoords=("axes fraction", "data"),
                fontsize=7,
                va="center",
                color=SOFT,
            )
    for (method, bound, matched), group in part.groupby(["method", "bound", "matched"], sort=False):
        axes.scatter(
            100 * group["pruning_ratio"],
            group["score_drop"],
            s=72 if matched else 40,
            marker=markers[bound],
            facecolors="none" if matched else colours[method],
            edgecolors=colours[method],
            linewidths=1.4 if matched else 0.5,
            zorder=4 if matched else 3,
        )
    tidy(axes)


def _front(axes: Axes, part: pd.DataFrame, left: float) -> None:
    """The front as steps: the smallest drop at which some trial prunes at least so much."""
    if len(part) and _has_front(part):
        front = part[part["pareto"]].sort_values("pruning_ratio")
        x, y = list(100 * front["pruning_ratio"]), list(front["score_drop"])
        axes.step([left, *x], [y[0], *y], where="pre", color=INK, linewidth=1.5, zorder=2)


def _has_front(frame: pd.DataFrame) -> bool:
    return frame["scope"].nunique() == 1


def _scale(axes: Axes, frame: pd.DataFrame) -> str:
    """Set the scale of the shared y axis; its label."""
    from matplotlib.ticker import MaxNLocator

    drops, label, linear = frame["score_drop"], score_drop_label(frame), _linear_to(frame)
    if linear is None:
        return label
    axes.set_yscale("symlog", linthresh=linear, linscale=1.5)
    lowest = max(float(drops.min()), -linear)
    ticks = [t for t in MaxNLocator(5).tick_values(min(0.0, lowest), linear) if t <= linear]
    ticks += [t for t in (2, 5, 10, 20, 50, 100) if t > 1.5 * linear]
    axes.set_yticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks], minor=False)
    axes.set_yticks([], minor=True)
    return f"{label.removesuffix(')')}, logarithmic above {linear:g})"


def _legend(frame: pd.DataFrame, colours: dict[str, str], markers: dict[str, str]) -> dict[str, dict[str, Line2D]]:
    from matplotlib.lines import Line2D

    def point(marker: str, colour: str, hollow: bool = False) -> Line2D:
        face = "none" if hollow else colour
        return Line2D([], [], linestyle="", marker=marker, markersize=7, markeredgecolor=colour, markerfacecolor=face)

    kinds = {"within its own bound": point("o", INK)}
    if frame["matched"].any():
        kinds["matched to a partner"] = point("o", INK, hollow=True)
    if _has_front(frame):
        kinds["Pareto front"] = Line2D([], [], color=INK, linewidth=1.5)
    return {
        "method": {
            joined(method, asked_by(frame[frame["method"] == method])): point("o", colour)
            for method, colour in colours.items()
        },
        bounds_label(frame): {bound: point(marker, SOFT) for bound, marker in markers.items()},
        "trial": kinds,
    }
