"""The bound in proportion to the multiply-adds of the layers."""

from __future__ import annotations

from collections.abc import Sequence

from raprune.plugins.allocations.base import Costed, ScoreDrop
from raprune.registry import ALLOCATIONS, Settings


@ALLOCATIONS.register("by_macs")
class ByMacs:
    """In proportion to the multiply-adds of the layer's convolutions in the baseline."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def shares(self, layers: Sequence[Costed], score_drop: ScoreDrop) -> list[float]:
        """Multiply-adds."""
        del score_drop
        return [float(layer.macs) for layer in layers]
