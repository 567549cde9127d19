"""The highest reward: the published decision.

Source: Huang, Zhou, You, Neumann, arXiv 1801.07365, Algorithm 1, which ends with the action of highest reward. Our
departures: only masks within the bound count, and ``prefixes`` also scores prefixes of the ranking.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raprune.network.masks import keep_first
from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.decisions.bisection import geometric
from raprune.plugins.methods.base import Evaluate, Ranking
from raprune.registry import DECISIONS, Settings


class RewardSettings(Settings):
    prefixes: bool = False
    """Also score the most important N/1.4, N/2, N/2.8, N/4 ... of N filters, as always where nothing was learned."""


@DECISIONS.register("reward", RewardSettings)
class Reward(DecisionStage):
    """Takes the scored mask of highest reward within the bound, and the learner's likeliest mask among them."""

    def __init__(self, settings: RewardSettings) -> None:
        self.prefixes = settings.prefixes

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The mask of highest reward; all filters unless a mask within the bound has a positive one."""
        num_filters = len(ranking.order)
        masks = [] if ranking.likely is None or self.prefixes else [ranking.likely]
        if not masks:
            masks = [keep_first(ranking.order, number) for number in geometric(num_filters)]
        if masks and evaluate.left != 0:
            evaluate(masks[: evaluate.left])
        feasible = [(mask, e.reward) for mask, e in evaluate.seen if e.feasible]
        best, reward = max(feasible, key=lambda pair: pair[1], default=(None, 0.0))
        return best if best is not None and reward > 0 else torch.ones(num_filters, dtype=torch.bool)

    def asked(self, num_filters: int) -> tuple[int, int]:
        return (0 if num_filters == 1 else 1), max(1, len(geometric(num_filters)))
