"""Taylor: filters ranked by how much the training loss would change without them, to first order.

Source: Molchanov, Mallya, Tyree, Frosio, Kautz, *Importance Estimation for Neural Network Pruning*, arXiv 1906.10771:
first order, by gates, the square of each image's gradient. Departures: the mean over training images as they are, with
the network in eval mode; the paper averages over the batches of a fine-tune. The gate acts where a keep mask acts,
behind the activation function; for a ReLU it is the same behind the norm, as in the paper. ``of: weights`` is the form
of Torch-Pruning (``TaylorImportance``): the gradient of the mean loss, and the sum of the absolute products of weights
and gradients.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled
from raprune.registry import METHODS


class TaylorSettings(Sampled):
    of: Literal["gates", "weights"] = "gates"
    """``gates``: a gate on each filter's channels, squared per image; ``weights``: each weight, absolute, over all."""


@METHODS.register("taylor", TaylorSettings)
class Taylor(Criterion):
    """Ranks the filters by the first-order change of the training loss without them."""

    def __init__(self, settings: TaylorSettings) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Mean squared gradients of the gates, in squared loss; or sums of absolute products, in loss."""
        if self.settings.of == "weights":
            gradients_NM = probe.weight_gradients(self.settings.num_images)
            return (probe.weights_NM.double() * gradients_NM).abs().sum(1)
        return probe.gate_gradients(self.settings.num_images).square().mean(0)
