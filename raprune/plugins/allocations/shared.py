"""The whole bound for every layer, as in the paper: the layers decided first may use it all.

Source: Huang, Zhou, You, Neumann, arXiv 1801.07365, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from raprune.plugins.allocations.base import Costed, ScoreDrop
from raprune.registry import ALLOCATIONS, Settings


@ALLOCATIONS.register("shared")
class Shared:
    """The whole bound for every layer: those decided first may use it all."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def shares(self, layers: Sequence[Costed], score_drop: ScoreDrop) -> list[float]:
        """All of it to the first layer; the others get what is passed on."""
        del score_drop
        return [1.0] + [0.0] * (len(layers) - 1)
