"""What pruning each filter costs, learned from the masks scored so far.

The score drop of a keep mask, as a share of what the bound leaves, is modelled as a Gaussian process (Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, 2006, chapter 2) in the filters that the mask prunes. Its mean is
linear: a constant plus the *prices* of those filters, where a price is expected to grow with the place of the filter in
the ranking. Drops are not linear, though: filters stand in for each other. So a deviation from the sum of the prices is
learned, too. It is alike for masks that differ in few filters, and its covariance falls exponentially with their number
(the Hamming distance).

Legend: N filters, O observations, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    single: float = 0.5
    """Standard deviation, in that scale, of a filter's own part."""
    deviation: float = 0.5
    """Standard deviation of a mask's drop from the sum of its prices."""
    alike: float = 6.0
    """Filters in which two masks differ where their deviations still correlate by 1/e."""
    noise: float = 0.1
    """Standard deviation of an observation, and of what no mask tells of another one."""


class Prices:
    """The model; feed it with :meth:`observe`, then fix a mask with :meth:`at`."""

    def __init__(self, order: Sequence[int], prior: Prior) -> None:
        self.prior = prior
        num_filters = len(order)
        self.place_N = torch.empty(num_filters, dtype=torch.float64)
        self.place_N[torch.tensor(list(order))] = torch.arange(num_filters, 0, -1, dtype=torch.float64) / num_filters
        scale = prior.filters / num_filters
        self.ranked, self.single = (prior.ranked * scale) ** 2, (prior.single * scale) ** 2
        self.deviation, self.length = prior.deviation**2, prior.alike
        self.pruned: list[Tensor] = []
        self.drops: list[float] = []

    def observe(self, mask_N: Tensor, drop: float) -> None:
        """Learn that ``mask_N`` costs ``drop``."""
        self.pruned.append((~mask_N).double())
        self.drops.append(drop)

    @contextmanager
    def supposing(self) -> Iterator[Callable[[Tensor, float], None]]:
        """Yields an :meth:`observe` whose observations are forgotten at the end of the block."""
        number = len(self.drops)
        try:
            yield self.observe
        finally:
            del self.pruned[number:], self.drops[number:]

    def learned(self) -> Learned:
        """What all observations so far tell."""
        return Learned(self)


class Learned:
    """The model, given its observations."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._seen_ON = torch.stack(prices.pruned)
        drops_O = torch.tensor(prices.drops, dtype=torch.float64)
        noise_OO = prices.prior.noise**2 * torch.eye(len(drops_O), dtype=torch.float64)
        self._root_OO = torch.linalg.cholesky(self._covariance(self._seen_ON) + noise_OO)
        self._weights_O = torch.cholesky_solve(drops_O[:, None], self._root_OO)[:, 0]

    def prices_at(self, mask_N: Tensor) -> Tensor:
        """(N,): how much more the mask is expected to cost with each filter pruned than with it kept."""
        p, here_N = self._prices, (~mask_N).double()
        ranked_NO = p.ranked * torch.outer(p.place_N, self._seen_ON @ p.place_N)
        linear_N: Tensor = (ranked_NO + p.single * self._seen_ON.T) @ self._weights_O
        # pruning one more filter brings the mask nearer to those that prune it, and takes it away from the others
        unlike_ON = (self._seen_ON - here_N).abs()
        shared_ON = unlike_ON.sum(1, keepdim=True) - unlike_ON  # the distance in all other filters
        pruned_ON, kept_ON = (shared_ON + 1 - self._seen_ON), (shared_ON + self._seen_ON)
        change_ON = torch.exp(-pruned_ON / p.length) - torch.exp(-kept_ON / p.length)
        return linear_N + p.deviation * change_ON.T @ self._weights_O

    def fits(self, pruned_CN: Tensor) -> Tensor:
        """(C,): the probability that each mask is within the bound; masks as floats, 1 = pruned."""
        p = self._prices
        covariance_CO = self._covariance(pruned_CN)
        known_OC = torch.linalg.solve_triangular(self._root_OO, covariance_CO.T, upper=False)
        own_C = p.ranked * (pruned_CN @ p.place_N) ** 2 + p.single * pruned_CN.sum(1) + p.deviation + 1.0
        variance_C = (own_C - (known_OC**2).sum(0)).clamp_min(0) + p.prior.noise**2
        chance_C: Tensor = torch.special.ndtr((1.0 - covariance_CO @ self._weights_O) / variance_C.sqrt())
        return chance_C

    def _covariance(self, pruned_CN: Tensor) -> Tensor:
        """(C, O): with the observations."""
        p = self._prices
        ranked_CO = p.ranked * torch.outer(pruned_CN @ p.place_N, self._seen_ON @ p.place_N)
        both_CO = pruned_CN @ self._seen_ON.T
        unlike_CO = pruned_CN.sum(1)[:, None] + self._seen_ON.sum(1) - 2 * both_CO
        return ranked_CO + p.single * both_CO + p.deviation * torch.exp(-unlike_CO / p.length) + 1.0
