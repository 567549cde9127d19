"""Pruning ratio by the role of the layers in their residual blocks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..ends import layers_at_end
from ..frames import completed_trials, over_seeds, whole_networks, with_trial
from ..labels import bounds_label, in_order, joined, plugin_labels, wrapped
from ..marks import clusters
from ..style import bound_colours, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 6
TITLE = "Which roles in a residual block are redundant"
CAPTION = (
    "Share of filters pruned, averaged over the layers with the same role in their residual block; conv stands for "
    "layers outside blocks. Matched trials have their partner's ratios and are left out."
)
ROLES = ("conv1", "conv2", "conv3", "shortcut", "conv")


def select(tables: Tables) -> pd.DataFrame:
    """Context (but for the network), method, order, network, role, num_layers, bound, pruning_ratio.

    Empty where no layer has a role in a block.
    """
    trials = _trials(tables)
    keys = ["context", "method", "order", "network", "bound", "unit"]
    layers = with_trial(layers_at_end(tables), trials, keys)
    keys.insert(4, "role")
    by_trial = layers.groupby([*keys, "trial_id"], sort=False)["pruning_ratio"].agg(["mean", "size"]).reset_index()
    by_trial = by_trial.rename(columns={"mean": "pruning_ratio", "size": "num_layers"})
    frame = over_seeds(by_trial, [*keys, "num_layers"], "pruning_ratio")
    return frame if set(frame["role"]) - {"conv"} else frame.iloc[0:0]


def _trials(tables: Tables) -> pd.DataFrame:
    """Trials with a bound, labelled among those of their own network: networks stand side by side in one panel."""
    networks = pd.Series(plugin_labels(tables.trials, "model"), index=tables.trials.index, dtype=object)
    parts = [completed_trials(dataclasses.replace(tables, trials=tables.trials.iloc[0:0])).assign(network="")]
    for network in in_order(networks):
        own = dataclasses.replace(tables, trials=tables.trials[networks == network])
        trials = whole_networks(completed_trials(own))
        contexts = [joined(context, scope) for context, scope in zip(trials["context"], trials["scope"], strict=True)]
        parts.append(trials.assign(network=network, context=contexts)[~trials["matched"]])
    return pd.concat([part for part in parts if len(part)] or parts)


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of the filters pruned, for each method, order and context."""
    frame, colours = _by_cluster(frame), bound_colours(list(frame["bound"]))
    named = {f"bound {bound}": colour for bound, colour in colours.items()}
    frame = frame.assign(bound="bound " + frame["bound"])
    return [
        Bars(joined(method, order, context), "% of the filters pruned", clusters(part, "cluster", "bound", named))
        for (context, method, order), part in frame.groupby(["context", "method", "order"], sort=False)
    ]


def _by_cluster(frame: pd.DataFrame) -> pd.DataFrame:
    """Sorted by network and role, with ``cluster`` and percentages."""
    several = frame["network"].nunique() > 1
    known = {role: place for place, role in enumerate(ROLES)}
    place = frame["role"].map(lambda role: known.get(role, -1))
    networks = in_order(frame["network"])
    frame = frame.assign(place=place, network_place=frame["network"].map(networks.index))
    frame = frame.sort_values(["network_place", "place", "role"], kind="stable")
    names = [
        f"{row['role']}\n{row['num_layers']} layer{'' if row['num_layers'] == 1 else 's'}"
        + (f"\n{row['network']}" if several else "")
        for row in frame.to_dict("records")
    ]
    percent = frame[["pruning_ratio", "lowest", "highest"]].mul(100)
    return frame.assign(
        cluster=names,
        value=percent["pruning_ratio"],
        lowest=percent["lowest"],
        highest=percent["highest"],
        text=percent["pruning_ratio"].map("{:.0f}".format),
    )


def draw(frame: pd.DataFrame) -> Figure:
    """One panel per method, order and context, one cluster per network and role."""
    frame, colours = _by_cluster(frame), bound_colours(list(frame["bound"]))
    panels_of = list(frame.groupby(["context", "method", "order"], sort=False))
    most = max(part["cluster"].nunique() for _, part in panels_of)
    width = min(15.0, max(5.0, 1 + most * max(0.9, 0.34 * len(colours))))
    figure = new_figure(width, 0.9 + 2.9 * len(panels_of))
    panels = figure.subplots(len(panels_of), 1, sharey=True, squeeze=False)
    for ((context, method, order), part), axes in zip(panels_of, panels.flat, strict=True):
        grouped_bars(axes, part, "cluster", "bound", colours)
        axes.set_title(wrapped(joined(method, order, context), width))
        axes.set_ylabel("filters pruned (%)")
    bar_legend(figure, colours, bounds_label(frame))
    return figure
