"""Hessian: filters ranked by how much the training loss would rise without them, to second order (OBD).

Source: LeCun, Denker, Solla, *Optimal Brain Damage*, NeurIPS 1989: half the sum of h * w^2, with the
diagonal of the Hessian only. Departure: the diagonal is the empirical Fisher information, the mean of the squared
gradient of each image's loss, as in Torch-Pruning's ``OBDCImportance`` and ``HessianImportance``; it is never negative.
Each image is differentiated by itself, so this costs more than Taylor.
"""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe, Sampled
from raprune.registry import METHODS


@METHODS.register("hessian", Sampled)
class Hessian(Criterion):
    """Ranks the filters by the second-order change of the training loss without them (OBD, Fisher diagonal)."""

    def __init__(self, settings: Sampled) -> None:
        self.settings = settings

    def importance(self, probe: Probe) -> Tensor:
        """Half the sums of squared weights times mean squared gradients, in loss."""
        squared_NM = probe.squared_weight_gradients(self.settings.num_images)
        return (probe.weights_NM.double().square() * squared_NM).sum(1) / 2
