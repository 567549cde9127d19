"""Prunes nothing: shows what fine-tuning, or factorising layers afterwards, achieves alone."""

from __future__ import annotations

import torch

from raprune.plugins.methods.base import Evaluate, LayerView, Method, Ranking
from raprune.registry import METHODS, Settings


@METHODS.register("keep_all")
class KeepAll(Method):
    """Keeps every filter and scores no candidate."""

    prunes = False

    def __init__(self, settings: Settings) -> None:
        del settings

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        """No filter to prune."""
        del layer, evaluate, rng
        return Ranking(())
