"""Criteria that rank filters by the norm behind them, on networks in which some layers have none."""

from __future__ import annotations

from collections.abc import Collection

from raprune.engine.places import scales_of
from raprune.network.graph import Traced
from raprune.registry import METHODS
from raprune.study import TrialSpec

MAX_NAMED = 3


def without_norm(traced: Traced) -> tuple[str, ...]:
    """The prunable layers whose filters no norm scales."""
    graph = traced.graph
    return tuple(name for name, group in graph.groups.items() if not scales_of(traced, group, graph.kept({})))


def norm_problems(trial: TrialSpec, groups: Collection[str], lacking: Collection[str]) -> list[tuple[str, str]]:
    """Key and message where the method, or the criterion that it starts from, needs norms that layers lack."""
    layers = [layer for layer in trial.layers_among(groups) if layer in lacking]
    named = {"method": trial.method.name, "method.prior": trial.method.settings.get("prior")}
    some = f"{', '.join(layers[:MAX_NAMED])}{' and others' if layers[MAX_NAMED:] else ''}"
    message = f"ranks filters by the norm behind them; without one: {some}; take another criterion, or other layers"
    return [
        (key, f"{name} {message}")
        for key, name in named.items()
        if layers and name is not None and METHODS.get(name).declared["needs_norm"]
    ]
