"""FPGM: filters near the geometric median of their layer go first, as others can stand in for them.

Source: He, Liu, Wang, Hu, Yang, *Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
Acceleration*, arXiv 1811.00250: the sum of a filter's distances to all filters of the layer. Departures: pruned
filters are removed, not zeroed and trained on; in a group, a filter is all members' weights together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe
from raprune.registry import METHODS, Settings


@METHODS.register("fpgm")
class GeometricMedian(Criterion):
    """Ranks the filters by how far they are from all others (geometric median)."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def importance(self, probe: Probe) -> Tensor:
        """The sums of the Euclidean distances to all filters."""
        weights_NM = probe.weights_NM.double()
        distances_NN = torch.cdist(weights_NM, weights_NM, compute_mode="donot_use_mm_for_euclid_dist")
        return distances_NN.sum(1)
