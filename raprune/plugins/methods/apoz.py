"""APoZ: filters whose channel is mostly zero behind the activation function go first.

Source: Hu, Peng, Tai, Tang, *Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
Architectures*, arXiv 1607.03250: the average percentage of zeros. Departures: training images, not
validation images; a value below zero counts as zero, so that channels that go into a sum without a ReLU can be ranked,
too; the importance is the share that is not zero, and where channels are read at several places, their mean.
"""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled, mean_over_places
from raprune.registry import METHODS


@METHODS.register("apoz", Sampled)
class AveragePercentageOfZeros(Criterion):
    """Ranks the filters by the share of their activations that are not zero (APoZ)."""

    def __init__(self, settings: Sampled) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Shares of activations above zero, in [0, 1]."""
        shares = probe.responses(_share_above_zero, self.settings.num_images)
        return mean_over_places([share_IN.mean(0) for share_IN in shares])


def _share_above_zero(values_BNHW: Tensor) -> Tensor:
    return (values_BNHW > 0).double().mean((2, 3))
