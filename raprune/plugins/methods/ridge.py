"""Ridge regression of the score drop on which filters are pruned, with Thompson sampling.

Sources: ridge regression as the posterior of a linear model with normal weights, sampled for exploration as in Agrawal,
Goyal, *Thompson Sampling for Contextual Bandits with Linear Payoffs*, arXiv 1209.3352; drawn by the method of
Bhattacharya, Chakraborty, Mallick, *Fast Sampling with Gaussian Scale Mixture Priors in High-Dimensional Regression*,
arXiv 1506.04778, whose cost grows with the masks scored, not with the square of the filters. So it takes layers of any
width, but learns most about narrow ones: each mask is one equation for N unknowns.

Ours:
- a mask prunes the filters whose sampled damage is least; how many, a staircase says: more by a step after each mask
  within the drop bound, fewer after each other. So about half of the masks are within the bound, close to it;
- beside the damage of each filter, the model has a constant, one term for the number pruned, and one for the rank in
  the criterion ``prior``;
- a mask whose scoring was given up counts with the largest drop seen.

Legend: N filters, M masks per update, S masks scored so far, P terms of the model.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import Evaluate, LayerView, Ranking
from raprune.plugins.methods.learning import (
    Learner,
    LearnerSettings,
    draw_unseen,
    entropy,
    most_important_first,
    ranks,
    seen_masks,
)
from raprune.registry import METHODS


class RidgeSettings(LearnerSettings):
    noise: float = Field(default=0.5, gt=0, lt=1)
    """Share of the variance of the drops that the model does not explain; larger values shrink damages more."""
    prior_strength: float = Field(default=3.0, ge=0)
    """How much more damage the prior's most important filter is expected to do than its least important, in standard
    deviations of a filter's own damage."""
    first_ratio: float = Field(default=0.25, gt=0, lt=1)
    """Share of the filters that the first masks prune."""
    step: float = Field(default=0.1, gt=0, le=1)
    """By how much, as a share, the number of pruned filters changes after each mask."""


@METHODS.register("ridge", RidgeSettings)
class Ridge(Learner):
    """Ridge regression of the score drop on the pruned filters, with Thompson sampling."""

    def __init__(self, settings: RidgeSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    def learn(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator, num_updates: int) -> Ranking:
        """The filters by expected damage."""
        s = self.settings
        start_N = self.start(layer)
        model = LinearDamage(ranks(start_N) if s.prior else torch.zeros_like(start_N), s)
        number = s.first_ratio * layer.num_filters
        for _ in range(num_updates):
            num_kept = layer.num_filters - min(layer.num_filters - 1, max(1, round(number)))
            masks = draw_unseen(
                lambda: keep_first(most_important_first(model.sample(rng)), num_kept),  # noqa: B023
                s.masks_per_update,
                evaluate,
            )
            kept_N = torch.stack(masks).double().mean(0)
            for evaluation in evaluate(masks, policy_entropy=entropy(kept_N.logit(eps=1e-6))):
                number *= 1 + s.step if evaluation.feasible else 1 / (1 + s.step)
                number = min(layer.num_filters - 1.0, max(1.0, number))
            model.fit(1 - seen_masks(evaluate), drops(evaluate))
        order = most_important_first(model.mean, start_N)
        likely = keep_first(order, layer.num_filters - round(number))
        return Ranking(order, likely, {"damage": model.mean, "rng": rng.get_state()})


def drops(evaluate: Evaluate) -> Tensor:
    """(S,) float64: the score drop of every mask, in points."""
    known = [e.score_drop for _, e in evaluate.seen]
    largest = max((drop for drop in known if drop is not None), default=0.0)
    return torch.tensor([largest if drop is None else drop for drop in known], dtype=torch.float64)


class LinearDamage:
    """Bayesian linear model of standardised drops: what each filter's removal adds to the drop."""

    def __init__(self, ranks_N: Tensor, settings: RidgeSettings) -> None:
        num_filters = len(ranks_N)
        self.ranks_N = ranks_N.double()
        own = (1 - settings.noise) * 4 / num_filters  # half of the filters pruned: N/4 times this is explained
        slope = settings.prior_strength * math.sqrt(own)
        common = torch.tensor([10.0, 10.0, slope**2], dtype=torch.float64)
        self.noise = settings.noise
        self.variance_P = torch.cat([common, torch.full((num_filters,), own, dtype=torch.float64)])
        self.expected_P = torch.zeros(3 + num_filters, dtype=torch.float64)
        self.expected_P[2] = slope
        self.terms_SP = torch.empty(0, 3 + num_filters, dtype=torch.float64)
        self.fit(torch.empty(0, num_filters, dtype=torch.float64), torch.empty(0, dtype=torch.float64))

    def fit(self, pruned_SN: Tensor, drops_S: Tensor) -> None:
        """Learn from all masks, 1 = pruned, and their drops."""
        num_scored, num_filters = pruned_SN.shape
        share_S1 = pruned_SN.sum(1, keepdim=True) / num_filters
        self.terms_SP = torch.cat(
            [torch.ones(num_scored, 1, dtype=torch.float64), share_S1, pruned_SN @ self.ranks_N[:, None], pruned_SN], 1
        )
        spread = float(drops_S.std(correction=0)) if num_scored else 0.0
        centred_S = drops_S - drops_S.mean() if num_scored else drops_S
        self.rest_S = centred_S / max(spread, 1e-9) - self.terms_SP @ self.expected_P
        covariance_SS = (self.terms_SP * self.variance_P) @ self.terms_SP.T
        self.factor_SS = torch.linalg.cholesky(covariance_SS + self.noise * torch.eye(num_scored, dtype=torch.float64))

    @property
    def mean(self) -> Tensor:
        """(N,): the expected damage of each filter."""
        return self._damage(self.expected_P + self._gain(self.rest_S))

    def sample(self, rng: torch.Generator) -> Tensor:
        """(N,): damages drawn from the posterior."""
        from_prior_P = self.variance_P.sqrt() * _normal(len(self.variance_P), rng)
        noise_S = math.sqrt(self.noise) * _normal(len(self.rest_S), rng)
        return self._damage(
            self.expected_P + from_prior_P + self._gain(self.rest_S - self.terms_SP @ from_prior_P - noise_S)
        )

    def _gain(self, rest_S: Tensor) -> Tensor:
        solved_S = torch.cholesky_solve(rest_S[:, None], self.factor_SS)[:, 0]
        return self.variance_P * (self.terms_SP.T @ solved_S)

    def _damage(self, weights_P: Tensor) -> Tensor:
        return weights_P[2] * self.ranks_N + weights_P[3:]


def _normal(number: int, rng: torch.Generator) -> Tensor:
    return torch.randn(number, generator=rng, dtype=torch.float64)
