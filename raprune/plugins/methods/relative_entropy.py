"""Relative entropy: filters ranked by how far the network's outputs move without each alone.

Source: Luo, Wu, *Neural Network Pruning with Residual-Connections and Limited-Data*, arXiv 1911.08114: the
Kullback-Leibler divergence between the class probabilities of the network and of the network without one filter.
Departures: filters are ranked within their layer, in the state in which the layer is decided; probabilities per pixel
are averaged over pixels. For networks that return images it is half the squared difference.

It costs a pass through all layers above for each filter: as much as scoring each filter's removal on ``num_images``.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled
from raprune.registry import METHODS


class RelativeEntropySettings(Sampled):
    num_images: int = Field(default=64, ge=1)
    """Training images on which each filter is pruned alone; all of them where there are fewer."""


@METHODS.register("relative_entropy", RelativeEntropySettings)
class RelativeEntropy(Criterion):
    """Ranks the filters by how far the outputs move without each alone (KL divergence)."""

    def __init__(self, settings: RelativeEntropySettings) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Mean divergences, in nats."""
        return probe.ablations(self.settings.num_images)
