"""``filter_basis``: a k x k convolution as a few k x k basis filters, then a 1x1 convolution that mixes them.

Source: Denton and others, arXiv 1404.0736, section 3; Jaderberg, Vedaldi, Zisserman, *Speeding up Convolutional Neural
Networks with Low Rank Expansions*, arXiv 1405.3866. Departure: the basis is of least squared error of the whole
(N, M_l) matrix, not of one channel after another, so it has a closed form.
"""

from __future__ import annotations

from torch import nn

from raprune.network.lowrank.scheme import Layer
from raprune.network.lowrank.schemes.svd import Svd
from raprune.registry import SCHEMES


@SCHEMES.register("filter_basis")
class FilterBasis(Svd):
    """Convolutions larger than 1x1 as mixtures of a few filters, with the least squared error of the filters."""

    def problem(self, layer: Layer) -> str | None:
        if not isinstance(layer, nn.Conv2d) or layer.kernel_size == (1, 1):
            return "filter_basis is for kernels larger than 1x1"
        return None
