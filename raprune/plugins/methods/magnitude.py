"""Magnitude: filters ranked by the L1 norm of their weights.

Source: Li, Kadav, Durdanovic, Samet, Graf, *Pruning Filters for Efficient ConvNets*, arXiv 1608.08710. Our departure:
the number of filters is not given but searched for, the fewest that stay within the drop bound.
"""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe
from raprune.registry import METHODS, Settings


@METHODS.register("magnitude")
class Magnitude(Criterion):
    """Ranks the filters by the L1 norm of their weights."""

    decision = "prefix"

    def __init__(self, settings: Settings) -> None:
        del settings

    def importance(self, probe: Probe) -> Tensor:
        """The L1 norms."""
        return probe.weights_NM.double().abs().sum(1)
