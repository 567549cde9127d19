"""``svd``: linear layers, 1x1 convolutions and those like a fully connected layer, as a product of two thin matrices.

Source: Denton, Zaremba, Bruna, LeCun, Fergus, *Exploiting Linear Structure Within Convolutional Networks for Efficient
Evaluation*, arXiv 1404.0736, section 3.1 (fully connected layers); Girshick, *Fast R-CNN*, arXiv 1504.08083, section
3.1. A layer's weight (N, M_l) becomes (N, r) times (r, M_l) of least squared error; a kernel as large as that of
FCN-32s' fc6 is seen as a row of that matrix. Departure: components are balanced (``matrix.py``).
"""

from __future__ import annotations

import torch
from torch import nn

from raprune.network.lowrank.matrix import exact, least_squares
from raprune.network.lowrank.responses import Responses
from raprune.network.lowrank.scheme import Decomposition, Layer, Scheme
from raprune.network.lowrank.structure import basis_pair, shape_of
from raprune.registry import SCHEMES

LARGE_KERNEL = 5
"""Kernels of this size and more are like a fully connected layer; smaller ones have a scheme of their own."""


@SCHEMES.register("svd")
class Svd(Scheme):
    """Linear layers, 1x1 and large kernels as two thin matrices, with the least squared error of the weight."""

    needs_responses = False

    def problem(self, layer: Layer) -> str | None:
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1) and min(layer.kernel_size) < LARGE_KERNEL:
            size = "x".join(map(str, layer.kernel_size))
            return f"svd is for linear layers, 1x1 and kernels from {LARGE_KERNEL}x{LARGE_KERNEL} on, not {size}"
        return None

    def full_rank(self, layer: Layer) -> int:
        return min(shape_of(layer))

    def pair(self, layer: Layer, rank: int, device: torch.device) -> nn.Sequential:
        return basis_pair(layer, rank, layer.bias is not None, device)

    def decompose(self, layer: Layer, responses: Responses | None) -> Decomposition:
        del responses
        weight = exact(layer.weight)
        found = least_squares(weight.flatten(1))
        second_NR = found.left_PR if weight.dim() == 2 else found.left_PR[:, :, None, None]
        bias_N = None if layer.bias is None else exact(layer.bias)
        return Decomposition(found.energies_R, found.right_RQ.reshape(-1, *weight.shape[1:]), second_NR, bias_N)
