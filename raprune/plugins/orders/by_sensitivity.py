"""By pruning sensitivity, the least sensitive layer first.

The paper (arXiv 1801.07365) compares low-to-high with "the order of pruning-sensitivity" but does not define it. Ours
is the mean score of the otherwise untouched baseline with the layer's smallest filters (L1 norm) pruned at each of a
few ratios, one layer at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import ScoreMask
from raprune.registry import ORDERS, Settings

Ratio = Annotated[float, Field(gt=0, lt=1)]


class BySensitivitySettings(Settings):
    pruning_ratios: list[Ratio] = Field(default=[0.25, 0.5, 0.75], min_length=1)
    """Shares of a layer's filters to prune when measuring its sensitivity."""


@ORDERS.register("by_sensitivity", BySensitivitySettings)
class BySensitivity:
    """Least sensitive layer first, measured by pruning each layer alone."""

    def __init__(self, settings: BySensitivitySettings) -> None:
        self.pruning_ratios = settings.pruning_ratios

    def arrange(self, layers: Sequence[LayerView], score: ScoreMask) -> list[str]:
        """Highest mean score first; layers with equal scores in the network's order."""
        mean = {view.layer: self._mean_score(view, score) for view in layers}
        return sorted(mean, key=lambda layer: -mean[layer])

    def _mean_score(self, view: LayerView, score: ScoreMask) -> float:
        norms = view.weights_NM.double().abs().sum(1)
        ranking = [int(i) for i in norms.argsort(descending=True, stable=True)]
        scores = []
        for ratio in self.pruning_ratios:
            num_kept = max(1, round(view.num_filters * (1 - ratio)))
            scores.append(score(view.layer, keep_first(ranking, num_kept)))
        return math.fsum(scores) / len(scores)  # exact, so that the order of the parts does not matter
