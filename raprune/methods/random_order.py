"""Random pruning: one seeded permutation of the filters, the control that every criterion has to beat."""

from __future__ import annotations

import torch

from raprune.deciding import Decision, Evaluate, LayerView
from raprune.registry import METHODS, Settings
from raprune.search import bisection_steps, smallest_feasible


@METHODS.register("random")
class RandomOrder:
    """One seeded permutation, num_kept bisected to the drop bound."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def rank(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """A permutation drawn from ``rng``."""
        return [int(i) for i in torch.randperm(layer.num_filters, generator=rng)]

    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """The shortest prefix of the permutation that stays within the bound."""
        return Decision(smallest_feasible(self.rank(layer, rng), evaluate))

    def expected_candidates(self, num_filters: int) -> int:
        return bisection_steps(num_filters)
