"""Entropy: filters whose pooled activation hardly varies from image to image go first.

Source: Luo, Wu, *An Entropy-based Pruning Method for CNN Compression*, arXiv 1706.05791: the mean of each
channel per image, divided into bins over the images, and the entropy of the bins. Departures: bins are of equal width
between the smallest and the largest value of the channel; training images; where channels are read at several places,
the mean of their entropies.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled, mean_over_places
from raprune.registry import METHODS


class EntropySettings(Sampled):
    num_bins: int = Field(default=32, ge=2)
    """Bins into which the values of a channel are divided."""


@METHODS.register("entropy", EntropySettings)
class Entropy(Criterion):
    """Ranks the filters by the entropy of their pooled activations over images."""

    def __init__(self, settings: EntropySettings) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Entropies in nats; 0 for a channel whose mean is the same in every image."""
        pooled = probe.responses(lambda values_BNHW: values_BNHW.double().mean((2, 3)), self.settings.num_images)
        return mean_over_places([_entropy(pooled_IN, self.settings.num_bins) for pooled_IN in pooled])


def _entropy(values_IN: Tensor, num_bins: int) -> Tensor:
    """(N,): the entropy of each column's histogram; NaN for columns of NaN."""
    low_N, high_N = values_IN.amin(0), values_IN.amax(0)
    width_N = torch.where(high_N > low_N, high_N - low_N, 1.0)
    place_IN = ((values_IN - low_N) / width_N * num_bins).nan_to_num().long().clamp(max=num_bins - 1)
    counts_KN = torch.zeros(num_bins, values_IN.shape[1], dtype=torch.float64)
    counts_KN.scatter_add_(0, place_IN, torch.ones_like(counts_KN[:1]).expand_as(place_IN))
    shares_KN = counts_KN / len(values_IN)
    entropy_N: Tensor = torch.special.entr(shares_KN).sum(0) + 0 * low_N
    return entropy_N
