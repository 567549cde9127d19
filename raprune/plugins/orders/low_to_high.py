"""From the input to the output: the paper's Algorithm 2 (arXiv 1801.07365)."""

from __future__ import annotations

from collections.abc import Sequence

from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import ScoreMask
from raprune.registry import ORDERS, Settings


@ORDERS.register("low_to_high")
class LowToHigh:
    """From the input to the output, as in the paper."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def arrange(self, layers: Sequence[LayerView], score: ScoreMask) -> list[str]:
        """The layers in the order given."""
        return [layer.layer for layer in layers]
