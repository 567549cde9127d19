"""Mean and covariance of a layer's responses to images.

Shapes: B images per batch, S responses of each filter, N filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raprune.network.lowrank.matrix import exact


@dataclass(frozen=True)
class Responses:
    """Over all images, positions and calls of a layer, before its norm; in double precision."""

    mean_N: Tensor
    covariance_NN: Tensor


@torch.no_grad()
def collect(network: nn.Module, layer: str, batches: Iterable[Tensor]) -> Responses:
    """The responses of ``layer``, a convolution or linear layer of ``network``, to batches of input."""
    number, sums, products = 0, torch.zeros(()), torch.zeros(())

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal number, sums, products
        del inputs
        features_last = output.movedim(1, -1) if isinstance(module, nn.Conv2d) else output
        for features in features_last:  # one image at a time: a batch in double precision may exceed the network
            responses_SN = exact(features.reshape(-1, features_last.shape[-1]))
            number += len(responses_SN)
            sums = sums.to(responses_SN) + responses_SN.sum(0)
            products = products.to(responses_SN) + responses_SN.T @ responses_SN

    hook = network.get_submodule(layer).register_forward_hook(see)
    try:
        for images in batches:
            network(images)
    finally:
        hook.remove()
    mean_N = sums / number
    return Responses(mean_N, products / number - torch.outer(mean_N, mean_N))
