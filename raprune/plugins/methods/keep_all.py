"""Prunes nothing: shows what fine-tuning, or factorising layers afterwards, achieves alone."""

from __future__ import annotations

import torch

from raprune.plugins.methods.base import Decision, Evaluate, LayerView, Method
from raprune.registry import METHODS, Settings


@METHODS.register("keep_all")
class KeepAll(Method):
    """Keeps every filter and scores no candidate."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """All filters."""
        del evaluate, rng
        return Decision(torch.ones(layer.num_filters, dtype=torch.bool))

    def expected_candidates(self, num_filters: int) -> int:
        del num_filters
        return 0
