"""Magnitude pruning: filters ranked by the L1 norm of their weights.

Source: Li, Kadav, Durdanovic, Samet, Graf, *Pruning Filters for Efficient ConvNets*, arXiv 1608.08710. Our departure:
the number of filters is not given but searched for, the fewest that stay within the drop bound.
"""

from __future__ import annotations

import torch

from raprune.plugins.methods.base import Asked, Decision, Evaluate, LayerView, RankedMethod
from raprune.plugins.methods.search import bisection_steps, fewest_bisection_steps, smallest_feasible, trim
from raprune.registry import METHODS, Settings


class MagnitudeSettings(Settings):
    trim: bool = False
    """After the bisection, also prune each single filter, smallest first, whose removal stays within the bound."""


@METHODS.register("magnitude", MagnitudeSettings)
class Magnitude(RankedMethod):
    """Ranks the filters by L1 norm and bisects num_kept to the drop bound."""

    def __init__(self, settings: MagnitudeSettings) -> None:
        self.settings = settings

    def rank(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """Largest L1 norm first."""
        norms = layer.weights_NM.double().abs().sum(1)
        return [int(i) for i in norms.argsort(descending=True, stable=True)]

    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """The fewest filters, largest first, that stay within the bound."""
        ranking = self.rank(layer, rng)
        mask = smallest_feasible(ranking, evaluate)
        return Decision(trim(mask, ranking, evaluate) if self.settings.trim else mask)

    def expected_candidates(self, num_filters: int) -> int:
        return self.asked(num_filters).searched[1]

    def asked(self, num_filters: int) -> Asked:
        """A bisection's masks; trimming scores one more per filter that the bisection kept, at most all filters."""
        most = bisection_steps(num_filters) + (num_filters if self.settings.trim else 0)
        return Asked(1, (0, 0), (fewest_bisection_steps(num_filters), most))
