"""ThiNet: filters go one by one, each time the one whose loss changes the next layer's responses least.

Source: Luo, Wu, Lin, *ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression*, arXiv 1707.06342,
section 3.2: the greedy choice of the channels to remove. Departures: it goes on to the last filter, which gives a
ranking; channels are not rescaled afterwards by least squares, as a fine-tune follows. Where several layers read a
filter, their responses are sampled alike; where channels go into a residual sum, each is a response of its own.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled
from raprune.registry import METHODS


class ThiNetSettings(Sampled):
    samples_per_image: int = Field(default=10, ge=1)
    """Responses of the next layer that are sampled from each image."""


@METHODS.register("thinet", ThiNetSettings)
class ThiNet(Criterion):
    """Ranks the filters by greedy reconstruction of the next layer's responses (ThiNet)."""

    def __init__(self, settings: ThiNetSettings) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """The place at which each filter goes, 0 for the first."""
        values_SN = probe.contributions(self.settings.num_images, self.settings.samples_per_image).values_SN
        return removed_in_turn(values_SN.T @ values_SN)


def removed_in_turn(gram_NN: Tensor) -> Tensor:
    """(N,): the place of each filter in the greedy order of removal, from the inner products of contributions.

    Removing a set changes the responses by the sum of its contributions; each step adds the filter that makes the
    squared norm of that sum least, the first in the layer among equals.
    """
    num_filters = len(gram_NN)
    with_removed_N = torch.zeros(num_filters, dtype=torch.float64)
    place_N = torch.full((num_filters,), -1.0, dtype=torch.float64)
    for place in range(num_filters):
        rise_N = gram_NN.diagonal() + 2 * with_removed_N
        one = int(rise_N.masked_fill(place_N >= 0, torch.inf).argmin())
        place_N[one] = place
        with_removed_N += gram_NN[one]
    return place_N
