"""In a random order, the control for the other orders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import ScoreMask
from raprune.registry import ORDERS, Settings


class RandomSettings(Settings):
    seed: int = Field(default=0, ge=0)
    """Seed for the order."""


@ORDERS.register("random", RandomSettings)
class Random:
    """In a seeded random order."""

    def __init__(self, settings: RandomSettings) -> None:
        self.seed = settings.seed

    def arrange(self, layers: Sequence[LayerView], score: ScoreMask) -> list[str]:
        """A permutation that depends only on the seed and the number of layers."""
        generator = torch.Generator().manual_seed(self.seed)
        return [layers[int(index)].layer for index in torch.randperm(len(layers), generator=generator)]
