"""Random pruning: one seeded permutation of the filters, the control that every criterion has to beat."""

from __future__ import annotations

import torch
from pydantic import Field

from raprune.plugins.methods.base import LayerView, RankedMethod
from raprune.registry import METHODS, Settings
from raprune.study.seeds import seed_for


class RandomSettings(Settings):
    draw: int = Field(default=0, ge=0)
    """Which of the seed's permutations to use, so that several draws can be compared with another method's trial."""


@METHODS.register("random", RandomSettings)
class RandomOrder(RankedMethod):
    """Ranks the filters by one seeded permutation."""

    decision = "prefix"

    def __init__(self, settings: RandomSettings) -> None:
        self.draw = settings.draw

    def order(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """A permutation drawn from ``rng``, or from a generator of its own for a later draw."""
        if self.draw:
            rng = torch.Generator().manual_seed(seed_for(rng.initial_seed(), "draw", self.draw))
        return [int(i) for i in torch.randperm(layer.num_filters, generator=rng)]
