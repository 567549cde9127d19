"""A layer as a criterion sees it: its weights and, where the network is at hand, what it does to training images.

Everything is computed on one state of the network in eval mode, on seeded training images that are not augmented.

Legend: N filters, M_l weights per filter, I images, B images per batch, S samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from pydantic import Field
from torch import Tensor

from raprune.errors import InputError
from raprune.registry import Settings


class Sampled(Settings):
    """Settings of a criterion that looks at training images."""

    num_images: int = Field(default=256, ge=1)
    """Training images that it looks at; all of them where there are fewer."""


@dataclass(frozen=True)
class Contributions:
    """What each filter contributes to responses of the layers that read it."""

    values_SN: Tensor
    """(S, N) float64: a response without its bias is the sum of its row."""
    norms_N: Tensor
    """(N,) float64: the L2 norm of the weights that read each filter."""


class Probe:
    """One layer of one state of a network. Results are on the CPU, in float64 unless they say otherwise."""

    def __init__(self, layer: str, weights_NM: Tensor) -> None:
        self.layer = layer
        self.weights_NM = weights_NM
        """(N, M_l): filters as rows; in a group, the members' side by side; in the network's precision."""

    @property
    def num_filters(self) -> int:
        """N."""
        return int(self.weights_NM.shape[0])

    def norm_scales(self) -> Tensor:
        """(N,): the absolute scales (gamma) of each filter's channels, summed over the norms that scale them.

        Raises :class:`InputError` where no norm scales them.
        """
        self._lacks_network()

    def responses(self, summary: Callable[[Tensor], Tensor], num_images: int) -> list[Tensor]:
        """(I, N) for each place where the filters' channels are read: ``summary`` of the activations.

        ``summary`` turns (B, N, H, W), after the norm and the activation function, into (B, N). NaN for filters that
        have no channel at that place.
        """
        self._lacks_network()

    def gate_gradients(self, num_images: int) -> Tensor:
        """(I, N): the gradient of each image's training loss with respect to a gate that scales a filter's channels.

        The gate is 1 and acts where a keep mask acts. Where the loss averages over a batch's labelled pixels, an
        image's loss is its share of that average, times the images of the batch.
        """
        self._lacks_network()

    def weight_gradients(self, num_images: int) -> Tensor:
        """(N, M_l): the gradient of the mean training loss with respect to the weights."""
        self._lacks_network()

    def squared_weight_gradients(self, num_images: int) -> Tensor:
        """(N, M_l): the mean over images of the squared gradient of each image's training loss."""
        self._lacks_network()

    def ablations(self, num_images: int) -> Tensor:
        """(N,): how far the outputs move if one filter is pruned, mean over images (and pixels).

        For classes it is the Kullback-Leibler divergence of the class probabilities from those of the whole layer, in
        nats. Outputs that are images are compared by half their squared difference, the divergence of two normal
        distributions of unit variance.
        """
        self._lacks_network()

    def contributions(self, num_images: int, samples_per_image: int) -> Contributions:
        """What each filter contributes to sampled responses of the layers that read it.

        Where channels go into a residual sum, each is a response of its own.
        """
        self._lacks_network()

    def _lacks_network(self) -> NoReturn:
        raise InputError(f"only the weights of {self.layer} are at hand; this criterion needs the network")


class WeightsProbe(Probe):
    """A layer of which only the weights are at hand."""


def mean_over_places(values_PN: list[Tensor]) -> Tensor:
    """(N,): the mean over the places that have a filter; NaN where a place does not."""
    return torch.stack(values_PN).nanmean(0)
