"""From the output to the input: the reverse of the paper's Algorithm 2, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import ScoreMask
from raprune.registry import ORDERS, Settings


@ORDERS.register("high_to_low")
class HighToLow:
    """From the output to the input."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def arrange(self, layers: Sequence[LayerView], score: ScoreMask) -> list[str]:
        """The layers in reverse order."""
        return [layer.layer for layer in reversed(layers)]
