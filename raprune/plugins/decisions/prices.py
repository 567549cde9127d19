"""What pruning each filter costs, learned from the masks scored so far.

The score drop of a keep mask, as a share of what the bound leaves, is modelled as a constant plus the *prices* of the
filters it prunes: a Gaussian process with a linear kernel, also known as Bayesian linear regression (Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, 2006, chapter 2). A price is expected to grow with the place of the
filter in the ranking. Drops are not linear in the filters pruned, so that a mask tells the less, the more filters it
differs from the mask at which prices are asked for: the variance of its noise grows with that number.

Legend: N filters, O observations, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prior:
    """What is expected before a mask is scored; drops as shares of what the bound leaves."""

    filters: float = 8.0
    """Filters of N whose pruning is expected to use up the bound, at least; sets the scale of the prices."""
    ranked: float = 2.0
    """Standard deviation, in that scale, of the part of the prices that grows linearly along the ranking."""
    single: float = 1.0
    """Standard deviation, in that scale, of a filter's own part."""
    noise: float = 0.15
    """Standard deviation of an observation at the mask where prices are asked for."""
    far: float = 0.25
    """Standard deviation of an observation that differs from it in an eighth of the filters; variances are linear."""


class Prices:
    """The model; feed it with :meth:`observe`, then fix a mask with :meth:`at`."""

    def __init__(self, order: Sequence[int], prior: Prior) -> None:
        self.prior = prior
        num_filters = len(order)
        self.place_N = torch.empty(num_filters, dtype=torch.float64)
        self.place_N[torch.tensor(list(order))] = torch.arange(num_filters, 0, -1, dtype=torch.float64) / num_filters
        scale = prior.filters / num_filters
        self.ranked, self.single = (prior.ranked * scale) ** 2, (prior.single * scale) ** 2
        self.pruned: list[Tensor] = []
        self.drops: list[float] = []

    def observe(self, mask_N: Tensor, drop: float) -> None:
        """Learn that ``mask_N`` costs ``drop``."""
        self.pruned.append((~mask_N).double())
        self.drops.append(drop)

    def at(self, mask_N: Tensor) -> LocalPrices:
        """The model around a mask."""
        return LocalPrices(self, (~mask_N).double())


class LocalPrices:
    """The prices at one mask."""

    def __init__(self, prices: Prices, here_N: Tensor) -> None:
        self._prices, self._here_N = prices, here_N
        self._seen_ON = torch.stack(prices.pruned)
        drops_O = torch.tensor(prices.drops, dtype=torch.float64)
        covariance_OO = self._covariance(self._seen_ON) + torch.diag(self._noise(self._seen_ON))
        self._root_OO = torch.linalg.cholesky(covariance_OO)
        self._weights_O = torch.cholesky_solve(drops_O[:, None], self._root_OO)[:, 0]

    def prices(self) -> Tensor:
        """(N,): the expected price of each filter."""
        p = self._prices
        ranked_NO = p.ranked * torch.outer(p.place_N, self._seen_ON @ p.place_N)
        prices_N: Tensor = (ranked_NO + p.single * self._seen_ON.T) @ self._weights_O
        return prices_N

    def fits(self, pruned_CN: Tensor) -> Tensor:
        """(C,): the probability that each mask is within the bound; masks as floats, 1 = pruned."""
        p = self._prices
        covariance_CO = self._covariance(pruned_CN)
        known_OC = torch.linalg.solve_triangular(self._root_OO, covariance_CO.T, upper=False)
        own_C = p.ranked * (pruned_CN @ p.place_N) ** 2 + p.single * pruned_CN.sum(1) + 1.0
        variance_C = (own_C - (known_OC**2).sum(0)).clamp_min(0) + self._noise(pruned_CN)
        chance_C: Tensor = torch.special.ndtr((1.0 - covariance_CO @ self._weights_O) / variance_C.sqrt())
        return chance_C

    def _covariance(self, pruned_CN: Tensor) -> Tensor:
        """(C, O): with the observations."""
        p = self._prices
        ranked_CO = p.ranked * torch.outer(pruned_CN @ p.place_N, self._seen_ON @ p.place_N)
        return ranked_CO + p.single * pruned_CN @ self._seen_ON.T + 1.0

    def _noise(self, pruned_CN: Tensor) -> Tensor:
        prior, num_filters = self._prices.prior, len(self._here_N)
        distance_C = (pruned_CN - self._here_N).abs().sum(1)
        return prior.noise**2 + prior.far**2 * distance_C / math.ceil(num_filters / 8)
