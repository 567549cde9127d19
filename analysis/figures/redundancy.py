"""A heat map of redundancy: the share pruned of every layer under every setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raprune.results import Tables

from ..charts import Chart, Heat
from ..ends import layers_at_end
from ..frames import completed_trials, with_trial
from ..labels import NO_BOUND, in_bound_order, in_order, joined, plugin_labels, short_name, wrapped
from ..marks import numbers
from ..style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 5
TITLE = "Where the redundancy is"
CAPTION = (
    "Share of each layer's filters pruned, from the input (left) to the output. Each row is a setting; a column dark "
    "throughout is a layer that every setting found redundant."
)
MOST_ROWS = 60
"""Settings drawn of one network; the first ones of more."""
NAMED = 64
"""Up to this many layers, the axis names them; more are numbered."""
COLOURS = ("#f6f8fa", "#8fb8c9", "#3d7fc1", "#22285c")


def select(tables: Tables) -> pd.DataFrame:
    """Network, setting, layer_index, layer, pruning_ratio (mean over num_trials trials) and the first trial_id."""
    trials = completed_trials(tables)
    networks = dict(zip(tables.trials["trial_id"], plugin_labels(tables.trials, "model"), strict=True))
    trials = trials.assign(
        network=[networks[name] for name in trials["trial_id"]],
        setting=[_setting(row) for row in trials.to_dict("records")],
        place=trials["bound"].map(in_bound_order(trials["bound"]).index) if len(trials) else 0,
    )
    trials = trials[~trials["matched"]].sort_values("place", kind="stable")
    layers = with_trial(layers_at_end(tables), trials, ["network", "setting"])
    order = {name: number for number, name in enumerate(trials["trial_id"])}
    layers = layers.assign(place=layers["trial_id"].map(order)).sort_values(["place", "layer_index"], kind="stable")
    keys = ["network", "setting", "layer_index", "layer"]
    columns = {"pruning_ratio": ("pruning_ratio", "mean"), "num_trials": ("trial_id", "size")}
    return layers.groupby(keys, sort=False).agg(**columns, trial_id=("trial_id", "first")).reset_index()


def _setting(row: dict[str, object]) -> str:
    bound = "" if row["bound"] == NO_BOUND else f"bound {row['bound']}"
    scope = "" if row["single"] else str(row["scope"])
    return joined(bound, str(row["method"]), str(row["order"]), str(row["context"]), scope)


def charts(frame: pd.DataFrame) -> list[Chart]:
    """A heat map for each network."""
    found: list[Chart] = []
    for network, part in frame.groupby("network", sort=False):
        settings, layers, ratios = _grid(part)
        firsts = part.drop_duplicates("setting").set_index("setting")["trial_id"]
        columns = [f"{index + 1}: {layer}" for index, layer in layers]
        values = [numbers(row) for row in 100 * ratios]
        trials = [str(firsts[setting]) for setting in settings]
        found.append(Heat(str(network), "% of the filters pruned", settings, columns, values, 0.0, 100.0, trials))
    return found


def _grid(part: pd.DataFrame) -> tuple[list[str], list[tuple[int, str]], np.ndarray]:
    """Settings, layers (index and name) and the share pruned; NaN where a layer was not decided."""
    settings = in_order(part["setting"])[:MOST_ROWS]
    layers = sorted(set(zip(part["layer_index"], part["layer"], strict=True)))
    ratios = np.full((len(settings), len(layers)), np.nan)
    rows, columns = {s: i for i, s in enumerate(settings)}, {layer: i for i, layer in enumerate(layers)}
    for setting, index, layer, ratio in part[["setting", "layer_index", "layer", "pruning_ratio"]].values:
        if setting in rows:
            ratios[rows[setting], columns[index, layer]] = ratio
    return settings, layers, ratios


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each network."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("pruned", COLOURS)
    networks = [(str(name), *_grid(part)) for name, part in frame.groupby("network", sort=False)]
    most = max(len(layers) for _, _, layers, _ in networks)
    heights = [0.9 + 0.28 * len(settings) + (1.4 if len(layers) <= NAMED else 0) for _, settings, layers, _ in networks]
    width = min(16.0, 4.0 + 0.32 * most)
    figure = new_figure(width, 0.6 + sum(heights))
    panels = figure.subplots(len(networks), 1, squeeze=False, height_ratios=heights)
    for (network, settings, layers, ratios), axes in zip(networks, panels.flat, strict=True):
        axes.pcolormesh(100 * ratios, cmap=colours, vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(settings)) + 0.5, [wrapped(name, 4.0) for name in settings], fontsize=7)
        if len(layers) <= NAMED:
            labels = [f"{index + 1}: {short_name(layer, 18)}" for index, layer in layers]
            axes.set_xticks(np.arange(len(layers)) + 0.5, labels, rotation=90, fontsize=7)
        axes.set_title(wrapped(network, width))
        axes.set_ylabel("setting")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    scale = ScalarMappable(Normalize(0, 100), colours)
    figure.colorbar(scale, ax=list(panels.flat), label="filters pruned (%)", shrink=0.8)
    return figure
