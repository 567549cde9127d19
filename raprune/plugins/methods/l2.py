"""L2: filters ranked by the L2 norm of their weights.

Source: He, Kang, Dong, Fu, Yang, *Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks*,
arXiv 1808.06866, with p = 2. Departures: pruned filters are removed, not zeroed and trained on; in a group,
the norm is that of all members' weights together.
"""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe
from raprune.registry import METHODS, Settings


@METHODS.register("l2")
class L2(Criterion):
    """Ranks the filters by the L2 norm of their weights."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def importance(self, probe: Probe) -> Tensor:
        """The L2 norms."""
        return probe.weights_NM.double().square().sum(1).sqrt()
