"""Population-based incremental learning: keep probabilities move towards the best masks scored so far.

Source: Baluja, *Population-Based Incremental Learning*, CMU-CS-94-163, 1994; with several elite masks and their mean as
the target it is the cross-entropy method (Rubinstein, *The Cross-Entropy Method for Combinatorial and Continuous
Optimization*, 1999). Departures:
- the elite is chosen among all masks scored in the layer, not only those of the last update, since scoring costs most;
- elite masks weigh log(E + 1/2) - log(place), the place counted from 1, as in CMA-ES (Hansen, arXiv 1604.00772);
- probabilities stay 1 / (N + 2) away from 0 and 1 instead of being mutated;
- it can start from a criterion's ranking, and does not score a mask twice as long as it draws new ones.

Legend: N filters, M masks per update, S masks scored so far, E of them elite.
"""

from __future__ import annotations

import math
from functools import partial

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
    sample_mask,
    seen_masks,
)
from raprune.registry import METHODS


class PbilSettings(LearnerSettings):
    masks_per_update: int = Field(default=10, ge=2)
    """M, the number of keep masks sampled and scored for one update."""
    max_updates: int = Field(default=40, ge=1)
    """Most updates per layer."""
    elite: float = Field(default=0.25, gt=0, le=1)
    """Share of the masks scored so far, those of highest reward, that the probabilities move towards."""
    learning_rate: float = Field(default=0.5, gt=0, le=1)
    """How far they move at an update, as a share of the way."""
    initial_keep_probability: float = Field(default=0.8, gt=0, lt=1)
    """Keep probability of every filter before the first update, the prior aside."""
    prior_slope: float = Field(default=3.0, ge=0)
    """How far, in logits, the most important filter of the ``prior`` starts above the least important."""


@METHODS.register("pbil", PbilSettings)
class Pbil(Learner):
    """Keep probabilities that move towards the best of all masks scored so far (PBIL, cross-entropy)."""

    def __init__(self, settings: PbilSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    def learn(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator, num_updates: int) -> Ranking:
        """The filters by keep probability."""
        s = self.settings
        start_N = self.start(layer)
        probs_N = self._first(start_N)
        for _ in range(num_updates):
            logits_N = probs_N.logit()
            masks = draw_unseen(partial(sample_mask, logits_N, rng), s.masks_per_update, evaluate)
            evaluate(masks, policy_entropy=entropy(logits_N))
            rewards_S = torch.tensor([e.reward for _, e in evaluate.seen], dtype=torch.float64)
            probs_N = moved(probs_N, elite_mean(seen_masks(evaluate), rewards_S, s.elite), s.learning_rate)
        order = most_important_first(probs_N, start_N)
        likely = keep_first(order, max(1, int((probs_N > 0.5).sum())))
        return Ranking(order, likely, {"probs": probs_N, "rng": rng.get_state()}, keep_probs=probs_N)

    def _first(self, importance_N: Tensor) -> Tensor:
        keep = self.settings.initial_keep_probability
        logits_N = torch.full(importance_N.shape, math.log(keep / (1 - keep)), dtype=torch.float64)
        if self.settings.prior is not None:
            logits_N += self.settings.prior_slope * ranks(importance_N)
        return logits_N.sigmoid()


def elite_mean(masks_SN: Tensor, rewards_S: Tensor, share: float) -> Tensor:
    """(N,): how often the elite keeps each filter, weighed by place; the earliest first among equal rewards."""
    number = max(1, math.ceil(share * len(rewards_S)))
    best = rewards_S.argsort(descending=True, stable=True)[:number]
    weights_E = math.log(number + 0.5) - torch.arange(1, number + 1, dtype=torch.float64).log()
    return (weights_E / weights_E.sum()) @ masks_SN[best]


def moved(probs_N: Tensor, target_N: Tensor, rate: float) -> Tensor:
    """The probabilities after a step of ``rate`` towards the target, kept away from 0 and 1."""
    margin = 1 / (len(probs_N) + 2)
    return (probs_N + rate * (target_N - probs_N)).clamp(margin, 1 - margin)
