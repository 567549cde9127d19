"""``response_svd``: the product of two thin matrices whose responses, not weights, are nearest to the layer's own.

Source: Zhang, Zou, He, Sun, *Accelerating Very Deep Convolutional Networks for Classification and Detection*, arXiv
1505.06798, section 2.1: with U_r the first r principal components of the responses y = Wx + b to training images, and m
their mean, y is replaced by U_r U_r' (y - m) + m, the linear reconstruction of least error. The same weights come from
an SVD of W S with S S' the inputs' second moment, for U S^2 U' = W S S' W'. Departures: the error is taken before the
norm and the activation, for one layer at a time, on the network as it stands; the covariance is mixed with a
thousandth of what white inputs would give (W W'), which puts directions that the images do not show into an order;
components are balanced; a layer without a bias gets one, for the mean of what is left out.
"""

from __future__ import annotations

import torch
from torch import nn

from raprune.network.lowrank.matrix import balanced, exact, principal
from raprune.network.lowrank.responses import Responses
from raprune.network.lowrank.scheme import Decomposition, Layer, Scheme
from raprune.network.lowrank.structure import basis_pair, shape_of
from raprune.registry import SCHEMES

WHITE = 1e-3
"""Variance of white inputs' responses that is mixed in, a share of the responses' own."""


@SCHEMES.register("response_svd")
class ResponseSvd(Scheme):
    """Any layer as two thin matrices, with the least squared error of its responses to training images."""

    needs_responses = True

    def problem(self, layer: Layer) -> str | None:
        del layer
        return None

    def full_rank(self, layer: Layer) -> int:
        return min(shape_of(layer))

    def pair(self, layer: Layer, rank: int, device: torch.device) -> nn.Sequential:
        return basis_pair(layer, rank, True, device)

    def decompose(self, layer: Layer, responses: Responses | None) -> Decomposition:
        assert responses is not None
        weight = exact(layer.weight)
        weight_NM, covariance_NN, mean_N = weight.flatten(1), responses.covariance_NN, responses.mean_N
        bias_N = torch.zeros_like(mean_N) if layer.bias is None else exact(layer.bias)
        white_NN = weight_NM @ weight_NM.T
        own, white = covariance_NN.trace(), white_NN.trace()
        mixed_NN = covariance_NN + WHITE * own / white * white_NN if own > 0 and white > 0 else white_NN
        energies_N, vectors_NN = principal(mixed_NN)
        rank = self.full_rank(layer)
        vectors_NR = vectors_NN[:, :rank]
        found = balanced(energies_N[:rank], vectors_NR, vectors_NR.T @ weight_NM)
        means_NR = vectors_NR * (vectors_NR.T @ (mean_N - bias_N))
        second_NR = found.left_PR if weight.dim() == 2 else found.left_PR[:, :, None, None]
        first_R = found.right_RQ.reshape(-1, *weight.shape[1:])
        return Decomposition(found.energies_R, first_R, second_NR, bias_N, means_NR)
