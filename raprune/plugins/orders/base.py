"""The contract of a layer order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from raprune.plugins.methods.base import LayerView


class ScoreMask(Protocol):
    """Scores one layer's mask in the untouched baseline."""

    def __call__(self, layer: str, mask: Tensor) -> float:
        """Percent on val."""


class Order(Protocol):
    """The order in which the layers are decided."""

    def arrange(self, layers: Sequence[LayerView], score: ScoreMask) -> list[str]:
        """A permutation of the names of ``layers``, which are given from low (input) to high (output)."""
