"""HRank: filters whose feature maps have a low rank go first.

Source: Lin, Ji, Wang, Zhang, Zhang, Tian, Shao, *HRank: Filter Pruning using High-Rank Feature Map*, arXiv 2002.10179:
the mean over images of the rank of a filter's feature map. Departures: fewer images (the paper takes 500
and finds the ranks hardly vary with them); where channels are read at several places, the mean. A map of one pixel has
rank 0 or 1, so high layers of small images are ranked by how often a filter is silent; channels that go into a sum
without a ReLU nearly all have full rank and then stand in the layer's order.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled, mean_over_places
from raprune.registry import METHODS


class HRankSettings(Sampled):
    num_images: int = Field(default=64, ge=1)
    """Training images whose feature maps are decomposed; all of them where there are fewer."""


@METHODS.register("hrank", HRankSettings)
class HRank(Criterion):
    """Ranks the filters by the mean rank of their feature maps (HRank)."""

    def __init__(self, settings: HRankSettings) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Mean ranks."""
        ranks = probe.responses(_ranks, self.settings.num_images)
        return mean_over_places([ranks_IN.mean(0) for ranks_IN in ranks])


def _ranks(values_BNHW: Tensor) -> Tensor:
    ranks_BN: Tensor = torch.linalg.matrix_rank(values_BNHW.contiguous()).double()
    return ranks_BN
