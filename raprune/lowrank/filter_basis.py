"""``filter_basis``: a k x k convolution as a few k x k basis filters, then a 1x1 convolution that mixes them.

Source: Denton and others, arXiv 1404.0736, section 3; Jaderberg, Vedaldi, Zisserman, *Speeding up Convolutional Neural
Networks with Low Rank Expansions*, arXiv 1405.3866. Departure: the basis is of least squared error of the whole
(N, M_l) matrix, not of one channel after another, so it has a closed form.
"""

from __future__ import annotations

import torch
from torch import nn

from raprune.lowrank.responses import Responses
from raprune.lowrank.scheme import Decomposition, Layer
from raprune.lowrank.structure import basis_pair, shape_of
from raprune.lowrank.svd import decompose_weight


class FilterBasis:
    """Least squared error of the filters."""

    needs_responses = False

    def problem(self, layer: Layer) -> str | None:
        if not isinstance(layer, nn.Conv2d) or layer.kernel_size == (1, 1):
            return "filter_basis is for kernels larger than 1x1"
        return None

    def full_rank(self, layer: Layer) -> int:
        return min(shape_of(layer))

    def pair(self, layer: Layer, rank: int, device: torch.device) -> nn.Sequential:
        return basis_pair(layer, rank, layer.bias is not None, device)

    def decompose(self, layer: Layer, responses: Responses | None) -> Decomposition:
        del responses
        return decompose_weight(layer)
