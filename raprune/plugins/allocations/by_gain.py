"""The bound in proportion to the multiply-adds that one point of it buys in a layer.

The price is measured as ``by_sensitivity`` measures an order: each layer alone in the untouched baseline, with its
smallest filters (L1 norm) pruned at each of a few ratios. Masks that the order has scored are not asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from raprune.network.masks import keep_first
from raprune.plugins.allocations.base import Costed, ScoreDrop
from raprune.registry import ALLOCATIONS, Settings

Ratio = Annotated[float, Field(gt=0, lt=1)]


class ByGainSettings(Settings):
    pruning_ratios: list[Ratio] = Field(default=[0.25, 0.5, 0.75], min_length=1)
    """Shares of a layer's filters to prune when measuring what a point buys there."""
    least_drop: float = Field(default=0.5, gt=0)
    """Points that a measured drop counts for at least, so that a layer that loses nothing does not get it all."""


@ALLOCATIONS.register("by_gain", ByGainSettings)
class ByGain:
    """In proportion to the multiply-adds that a point buys, measured by pruning each layer alone."""

    def __init__(self, settings: ByGainSettings) -> None:
        self.settings = settings

    def shares(self, layers: Sequence[Costed], score_drop: ScoreDrop) -> list[float]:
        """Multiply-adds saved per point lost, averaged over the ratios."""
        return [self._gain(layer, score_drop) for layer in layers]

    def _gain(self, layer: Costed, score_drop: ScoreDrop) -> float:
        view = layer.view
        norms = view.weights_NM.double().abs().sum(1)
        ranking = [int(i) for i in norms.argsort(descending=True, stable=True)]
        gains = []
        for ratio in self.settings.pruning_ratios:
            mask = keep_first(ranking, max(1, round(view.num_filters * (1 - ratio))))
            gains.append(layer.saved(mask) / max(score_drop(view.layer, mask), self.settings.least_drop))
        return math.fsum(gains) / len(gains) + 1.0  # positive even where a layer has one filter
