"""LASSO channel selection: filters ranked by the order in which they leave as the penalty on channels grows.

Source: He, Zhang, Sun, *Channel Pruning for Accelerating Very Deep Neural Networks*, arXiv 1707.06168, section 3.1: the
next layer's responses are approximated by the contributions of the channels, each times a coefficient with an L1
penalty; the weights that read a channel are scaled to norm 1. Departures: the paper raises the penalty until few enough
channels are left; we follow the exact path of the coefficients over all penalties, which ranks all filters: a filter
leaves at the largest penalty at which its coefficient is not zero. The paper's second step, the least-squares refit of
the next layer, is a setting (``refit``) and comes once the layer is decided. Where several layers read a filter, their
responses are sampled alike; where channels go into a residual sum, each is a response of its own.

Legend: N filters, S samples.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.methods.base import Criterion, LeastSquares
from raprune.plugins.methods.probe import Probe, Sampled
from raprune.registry import METHODS

RIDGE = 1e-4
"""Added to the diagonal of the Gram matrix, relative to its mean, as contributions may depend on each other."""
MOST_STEPS = 8
"""Most steps of the path per filter."""
FRESH = 64
"""Steps after which the inverse is computed anew, against the growth of rounding errors."""


class LassoSettings(Sampled):
    samples_per_image: int = Field(default=10, ge=1)
    """Responses of the next layer that are sampled from each image."""
    refit: bool = False
    """Whether the next layer's weights are refitted by least squares to its old responses before the layer is committed
    and fine-tuned. Candidates are scored without it."""


@METHODS.register("lasso", LassoSettings)
class Lasso(Criterion):
    """Ranks the filters by when LASSO regression on the next layer's responses drops them."""

    def __init__(self, settings: LassoSettings) -> None:
        self.settings = settings
        if settings.refit:
            self.refit = LeastSquares(settings.num_images, settings.samples_per_image)

    def importance(self, probe: Probe) -> Tensor:
        """The place at which each filter leaves, 0 for the first."""
        found = probe.contributions(self.settings.num_images, self.settings.samples_per_image)
        norms_N = torch.where(found.norms_N > 0, found.norms_N, 1.0)
        scaled_SN = found.values_SN / norms_N
        return leaving_penalties(scaled_SN.T @ scaled_SN, norms_N).argsort(stable=True).argsort(stable=True).double()


def leaving_penalties(gram_NN: Tensor, whole_N: Tensor) -> Tensor:
    """(N,): the largest penalty at which each coefficient is not zero; 0 for filters that contribute nothing.

    The coefficients b minimise half of (b - whole)' gram (b - whole) plus penalty * sum |b|, so they are ``whole_N``,
    which is positive, without a penalty.
    """
    left_N = torch.zeros_like(whole_N)
    alive = (gram_NN.diagonal() > 0).nonzero()[:, 0]
    if len(alive):
        gram = gram_NN[alive][:, alive]
        gram += RIDGE * gram.diagonal().mean() * torch.eye(len(alive), dtype=gram.dtype)
        left_N[alive] = _Path(gram, gram @ whole_N[alive]).followed()
    return left_N


class _Path:
    """The coefficients as the penalty falls; they are linear in it between the penalties at which one turns on or off.

    Source: Efron, Hastie, Johnstone, Tibshirani, *Least Angle Regression*, Annals of Statistics 2004, section 3.1.
    """

    def __init__(self, gram_NN: Tensor, target_N: Tensor) -> None:
        self.gram_NN = gram_NN
        self.rest_N = target_N.clone()
        """Minus the gradient of the squared error; of the penalty's size where a coefficient is on."""
        self.coefficient_N = torch.zeros_like(target_N)
        self.sign_N = torch.zeros_like(target_N)
        """Signs of the coefficients; 0 for those that are off."""
        self.inverse_NN = torch.zeros_like(gram_NN)
        """Inverse of the part of the Gram matrix that is on; zeros elsewhere."""
        self.first_on_N = torch.full_like(target_N, -1.0)

    def followed(self) -> Tensor:
        """(N,): the largest penalty at which each coefficient is on."""
        one = int(self.rest_N.abs().argmax())
        penalty = float(self.rest_N[one].abs())
        self._turn_on(one, penalty)
        for step in range(1, MOST_STEPS * len(self.rest_N)):
            if bool((self.first_on_N >= 0).all()):
                break
            if step % FRESH == 0:
                self._refresh()
            fall, one = self._next(penalty, one)
            if fall >= penalty:
                break
            penalty -= fall
            if self.sign_N[one]:
                self._turn_off(one)
            else:
                self._turn_on(one, penalty)
        return torch.where(self.first_on_N >= 0, self.first_on_N, self.rest_N.abs().clamp(max=penalty))

    def _next(self, penalty: float, changed: int) -> tuple[float, int]:
        """Lower the penalty until a coefficient turns on or off: by how much, and which. ``changed`` did so before."""
        slope_N = self.inverse_NN @ self.sign_N
        growth_N = self.gram_NN @ slope_N
        falls_2N = torch.stack(((penalty - self.rest_N) / (1 - growth_N), (penalty + self.rest_N) / (1 + growth_N)))
        falls_N = torch.where(falls_2N > -1e-9 * penalty, falls_2N, torch.inf).amin(0).clamp(min=0)
        zero_N = -self.coefficient_N / slope_N
        falls_N = torch.where(self.sign_N == 0, falls_N, torch.where(zero_N > 0, zero_N, torch.inf))
        falls_N[changed] = torch.inf
        one = int(falls_N.argmin())
        fall = min(float(falls_N[one]), penalty)
        self.coefficient_N += fall * slope_N
        self.rest_N -= fall * growth_N
        return fall, one

    def _turn_on(self, one: int, penalty: float) -> None:
        if self.first_on_N[one] < 0:
            self.first_on_N[one] = penalty
        self.sign_N[one] = self.rest_N[one].sign()
        change_N = self.inverse_NN @ self.gram_NN[one]
        rest = self.gram_NN[one, one] - self.gram_NN[one] @ change_N
        change_N[one] = -1.0
        self.inverse_NN += torch.outer(change_N, change_N) / rest

    def _turn_off(self, one: int) -> None:
        self.sign_N[one], self.coefficient_N[one] = 0.0, 0.0
        column_N = self.inverse_NN[:, one].clone()
        self.inverse_NN -= torch.outer(column_N, column_N) / column_N[one]
        self.inverse_NN[one], self.inverse_NN[:, one] = 0.0, 0.0

    def _refresh(self) -> None:
        on = self.sign_N.nonzero()[:, 0]
        self.inverse_NN.zero_()
        self.inverse_NN[on[:, None], on] = torch.linalg.inv(self.gram_NN[on[:, None], on])
