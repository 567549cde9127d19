"""A layer as a criterion sees it: its weights and, where the network is at hand, what it does to training images.

Legend: N filters, M_l weights per filter.
"""

from __future__ import annotations

from torch import Tensor


class Probe:
    """One layer of one state of a network."""

    def __init__(self, layer: str, weights_NM: Tensor) -> None:
        self.layer = layer
        self.weights_NM = weights_NM
        """(N, M_l): filters as rows; in a group, the members' side by side."""

    @property
    def num_filters(self) -> int:
        """N."""
        return int(self.weights_NM.shape[0])


class WeightsProbe(Probe):
    """A layer of which only the weights are at hand."""
