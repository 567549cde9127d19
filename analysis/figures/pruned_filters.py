"""Which filters were pruned: the norm of each against what the method made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raprune.results import Tables

from ..charts import Axis, Chart, Plot, Series
from ..ends import layers_at_end
from ..frames import completed_trials, first_of_each_bound, with_trial
from ..labels import bound_text, joined, short_name, wrapped
from ..marks import numbers
from ..style import grouped_legend, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 13
TITLE = "Which filters were pruned, and how large they are"
CAPTION = (
    "Each point is a filter, from the one with the smallest L1 norm (left) to the largest, and its keep probability, "
    "or its rank where the method learns none. A method that follows magnitude prunes those on the left."
)
MOST_TRIALS, MOST_LAYERS = 2, 6
"""Trials shown, and layers of each: spread evenly from the first to the last one with a pruned filter."""
PROBABILITY, RANK = "keep probability", "rank (1: most important)"
SIZE = "larger than (% of the filters)"
LOOKS = {"kept": ("#3d7fc1", "o"), "pruned": ("#cf222e", "X")}
COLUMNS = 4


def select(tables: Tables) -> pd.DataFrame:
    """A row for each filter: trial_id, trial, layer_index, layer, filter, norm, measure (of value), value, fate.

    ``larger_than`` is the share of the layer's other filters with smaller norms.
    """
    layers = layers_at_end(tables)
    layers = layers[layers["filter_norms"].notna() & layers["filter_places"].notna()]
    layers = layers[layers["num_kept"] < layers["num_filters"]].sort_values("layer_index", kind="stable")
    trials = completed_trials(tables)
    trials = trials[trials["trial_id"].isin(layers["trial_id"])]
    trials = first_of_each_bound(trials, MOST_TRIALS)
    names = [joined(r["method"], bound_text(r["bound"]), r["context"]) for r in trials.to_dict("records")]
    layers = with_trial(layers, trials.assign(trial=names), ["trial"])
    order = {name: place for place, name in enumerate(trials["trial_id"])}
    parts = [
        _filters(row)
        for _, part in sorted(layers.groupby("trial_id", sort=False), key=lambda pair: order[pair[0]])
        for row in _spread(part).to_dict("records")
    ]
    columns = ["trial_id", "trial", "layer_index", "layer", "filter", "norm", "larger_than", "measure", "value", "fate"]
    return pd.concat(parts)[columns].reset_index(drop=True) if parts else pd.DataFrame(columns=columns)


def _spread(part: pd.DataFrame) -> pd.DataFrame:
    if len(part) <= MOST_LAYERS:
        return part
    return part.iloc[np.linspace(0, len(part) - 1, MOST_LAYERS).round().astype(int)]


def _filters(row: dict[str, Any]) -> pd.DataFrame:
    places = np.asarray(row["filter_places"], dtype=float)
    learned = row["keep_probs"] is not None
    fates = np.where(np.asarray(row["keep_mask"], dtype=bool), "kept", "pruned")
    return pd.DataFrame(
        {
            "filter": range(len(places)),
            "norm": row["filter_norms"],
            "larger_than": np.argsort(np.argsort(row["filter_norms"], kind="stable")) / max(1, len(places) - 1),
            "measure": PROBABILITY if learned else RANK,
            "value": row["keep_probs"] if learned else 1 - places / max(1, len(places) - 1),
            "fate": fates,
        }
    ).assign(**{name: row[name] for name in ("trial_id", "trial", "layer_index", "layer")})


def among_smallest(part: pd.DataFrame) -> tuple[int, int, float]:
    """Of one layer: how many pruned filters are among as many smallest ones, how many there are, and by chance."""
    pruned = (part["fate"] == "pruned").to_numpy()
    number = int(pruned.sum())
    smallest = np.argsort(part["norm"].to_numpy(dtype=float), kind="stable")[:number]
    return int(pruned[smallest].sum()), number, number**2 / len(part)


def _panels(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The layer, its trial where there are several, and what became of its filters, in words; and the filters."""
    several = frame["trial_id"].nunique() > 1
    found = []
    for (_, trial, index, layer), part in frame.groupby(["trial_id", "trial", "layer_index", "layer"], sort=False):
        same, number, chance = among_smallest(part)
        name = f"{index + 1}: {short_name(str(layer), 26)}"
        said = f"{same} of {number} pruned are among the {number} smallest ({chance:.1f} by chance)"
        found.append((f"{joined(name, str(trial) if several else '')}\n{said}", part))
    return found


def charts(frame: pd.DataFrame) -> list[Chart]:
    """A plot for each layer."""
    found: list[Chart] = []
    for title, part in _panels(frame):
        series = [
            Series(
                str(fate),
                numbers(100 * of["larger_than"]),
                numbers(of["value"]),
                trials=[str(name) for name in of["trial_id"]],
                group="filter",
                colour=LOOKS[str(fate)][0],
                marker=LOOKS[str(fate)][1],
                notes=[f"filter {number}, L1 norm {norm:.4g}" for number, norm in of[["filter", "norm"]].values],
            )
            for fate, of in part.groupby("fate", sort=True)
        ]
        found.append(Plot(title, Axis(SIZE), Axis(str(part["measure"].iloc[0])), series))
    return found


def draw(frame: pd.DataFrame) -> Figure:
    """A grid of layers, four in a row."""
    panels_of = _panels(frame)
    columns = min(COLUMNS, len(panels_of))
    rows = -(-len(panels_of) // columns)
    figure = new_figure(max(5.0, 3.4 * columns), 0.8 + 3.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(panels_of) :]:
        axes.set_visible(False)
    for (title, part), axes in zip(panels_of, panels.flat, strict=False):
        for fate, of in part.groupby("fate", sort=True):
            colour, marker = LOOKS[str(fate)]
            axes.scatter(100 * of["larger_than"], of["value"], s=18, color=colour, marker=marker, linewidths=0)
        axes.set_title("\n".join(wrapped(line, 3.2) for line in title.split("\n")), fontsize=8)
        axes.set_xlabel(SIZE)
        axes.set_ylabel(str(part["measure"].iloc[0]))
        tidy(axes)
    handles = {fate: axes.scatter([], [], s=24, color=c, marker=m) for fate, (c, m) in LOOKS.items()}
    grouped_legend(figure, {"filter": handles})
    return figure
