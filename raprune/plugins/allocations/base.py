"""The contract of an allocation: how the drop bound is shared out among the layers.

The network's drop is that of all its layers together. So a layer's *allowance* is a bound on the whole network's drop:
the shares of the layers decided so far, its own included. What a layer leaves unused passes on to those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from raprune.plugins.methods.base import LayerView


@dataclass(frozen=True)
class Costed:
    """A layer of the baseline and what pruning it saves."""

    view: LayerView
    macs: int
    """Multiply-adds of the layer's convolutions for one image."""
    saved: Callable[[Tensor], int]
    """Keep mask -> multiply-adds for one image that the whole network saves with it."""


class ScoreDrop(Protocol):
    """Scores one layer's mask in the untouched baseline."""

    def __call__(self, layer: str, mask: Tensor) -> float:
        """Points on val below the baseline's score; negative where it is better."""


class Allocation(Protocol):
    """Shares out the drop bound."""

    def shares(self, layers: Sequence[Costed], score_drop: ScoreDrop) -> list[float]:
        """A share for each of ``layers``, which come in the order of deciding; only their ratios count.

        No share is negative, and the first is positive: a layer that may lose nothing has no reward to be decided by.
        """
