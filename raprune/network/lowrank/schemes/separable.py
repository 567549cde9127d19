"""``separable``: a k x k convolution as k x 1 filters, then 1 x k ones.

Source: Jaderberg, Vedaldi, Zisserman, *Speeding up Convolutional Neural Networks with Low Rank Expansions*, arXiv
1405.3866, scheme 2, with the closed form of Tai, Xiao, Zhang, Wang, E, *Convolutional neural networks with low-rank
regularization*, arXiv 1511.06067, theorem 1: the weight rearranged to (C k) x (N k) has a best product of rank r, whose
factors are the two layers. Departure: components are balanced (:mod:`raprune.network.lowrank.matrix`).
"""

from __future__ import annotations

import torch
from torch import nn

from raprune.network.lowrank.matrix import exact, least_squares
from raprune.network.lowrank.responses import Responses
from raprune.network.lowrank.scheme import Decomposition, Layer, Scheme
from raprune.network.lowrank.structure import separable_pair
from raprune.registry import SCHEMES


@SCHEMES.register("separable")
class Separable(Scheme):
    """Convolutions as columns, then rows, with the least squared error of the filters."""

    needs_responses = False

    def problem(self, layer: Layer) -> str | None:
        if not isinstance(layer, nn.Conv2d) or min(layer.kernel_size) == 1:
            return "separable is for kernels larger than 1 in both directions"
        return None

    def full_rank(self, layer: Layer) -> int:
        assert isinstance(layer, nn.Conv2d)
        filters, channels, height, width = layer.weight.shape
        return min(channels * height, filters * width)

    def pair(self, layer: Layer, rank: int, device: torch.device) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        return separable_pair(layer, rank, device)

    def decompose(self, layer: Layer, responses: Responses | None) -> Decomposition:
        del responses
        weight_NCHW = exact(layer.weight)
        filters, channels, height, width = weight_NCHW.shape
        found = least_squares(weight_NCHW.permute(1, 2, 0, 3).reshape(channels * height, filters * width))
        first_RCH1 = found.left_PR.T.reshape(-1, channels, height, 1)
        second_NR1W = found.right_RQ.reshape(-1, filters, width).transpose(0, 1)[:, :, None]
        bias_N = None if layer.bias is None else exact(layer.bias)
        return Decomposition(found.energies_R, first_RCH1, second_NR1W, bias_N)
