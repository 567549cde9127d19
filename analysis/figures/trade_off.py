"""Pruning ratio against score drop, every method and bound, with the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raprune.results import Tables

from ..frames import completed_trials, in_order
from ..style import MARKERS, method_colour, new_figure, tidy

PLACE = 1
TITLE = "How much can go, and what it costs"
CAPTION = (
    "Each point is a trial: the share of filters pruned against the points of score it lost (further right and lower is "
    "better). Shapes tell the drop bound; hollow points are matched to an agent trial's ratios and have no bound. "
    "The line is the Pareto front: nothing prunes more and loses less."
)
SPLITS = {"val_score_drop": "validation", "test_score_drop": "test"}


def select(tables: Tables) -> pd.DataFrame:
    """One row a trial and split: label, bound, matched, pruning_ratio, split, score_drop, pareto."""
    trials = completed_trials(tables)
    parts = []
    for column, split in SPLITS.items():
        part = trials[["trial_id", "method", "label", "matched", "bound", "order", "seed", "pruning_ratio"]].copy()
        part["split"], part["score_drop"] = split, trials[column]
        part = part[part["score_drop"].notna()]
        part["pareto"] = pareto(part["pruning_ratio"], part["score_drop"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def pareto(ratio: pd.Series, drop: pd.Series) -> pd.Series:
    """True where no other trial prunes at least as much and loses at most as much, one of them strictly."""
    better = [
        bool(((ratio >= r) & (drop <= d) & ((ratio > r) | (drop < d))).any()) for r, d in zip(ratio, drop, strict=True)
    ]
    return ~pd.Series(better, index=ratio.index, dtype=bool)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each split."""
    splits = in_order(frame["split"])
    figure = new_figure(5.2 * len(splits), 4.2)
    for number, split in enumerate(splits):
        axes = figure.add_subplot(1, len(splits), number + 1)
        _panel(axes, frame[frame["split"] == split], sorted(frame["bound"].dropna().unique()))
        axes.set_title(split)
        if number == 0:
            axes.set_ylabel("score drop (points)")
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, bounds: list[float]) -> None:
    methods = in_order(part["method"])
    for (label, bound), group in part.groupby(["label", "bound"], sort=False):
        colour = method_colour(group["method"].iloc[0], methods)
        hollow = bool(group["matched"].iloc[0])
        axes.scatter(
            100 * group["pruning_ratio"],
            group["score_drop"],
            s=46,
            marker=MARKERS[bounds.index(bound) % len(MARKERS)],
            facecolors="none" if hollow else colour,
            edgecolors=colour,
            label=f"{label}, {bound:g}",
            zorder=3,
        )
    front = part[part["pareto"]].sort_values("pruning_ratio")
    axes.plot(100 * front["pruning_ratio"], front["score_drop"], color="#24292f", linewidth=1, zorder=2)
    for bound in bounds:
        axes.axhline(bound, color="#8b949e", linewidth=0.7, linestyle=":")
        axes.annotate(f"bound {bound:g}", (0, bound), xycoords=("axes fraction", "data"), fontsize=7, color="#57606a")
    axes.set_xlabel("filters pruned (%)")
    tidy(axes)
