"""The same share of the bound for every layer."""

from __future__ import annotations

from collections.abc import Sequence

from raprune.plugins.allocations.base import Costed, ScoreDrop
from raprune.registry import ALLOCATIONS, Settings


@ALLOCATIONS.register("equal")
class Equal:
    """The same share of the bound for every layer."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def shares(self, layers: Sequence[Costed], score_drop: ScoreDrop) -> list[float]:
        """Equal shares."""
        del score_drop
        return [1.0] * len(layers)
