"""What learners share: updates within a share of a layer's candidates, where they start, and how they draw masks.

Legend: N filters, M masks per update.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from raprune.plugins.methods.base import Asked, Evaluate, LayerView, Method, Ranking
from raprune.registry import METHODS, Settings
from raprune.study.names import NameOf

TIMED_UPDATES = 6
"""Updates of a layer that an estimate runs to time one."""

REDRAWS = 20

CriterionName = Annotated[str, NameOf(METHODS, declaring="criterion")]
"""A method that is a :class:`raprune.plugins.methods.base.Criterion`, with its default settings."""


class LearnerSettings(Settings):
    masks_per_update: int = Field(default=5, ge=2)
    """M, the number of keep masks sampled and scored for one update."""
    max_updates: int = Field(default=60, ge=1)
    """Most updates per layer."""
    learning_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the layer's candidates (``candidates_per_layer``) that learning may use; the decision stage has the
    rest. Where that is too little for an update, filters are ranked by ``prior``, or by their L1 norms."""
    prior: CriterionName | None = None
    """The criterion whose ranking it starts from; null for none."""

    def shortened(self) -> Self:
        return self.model_copy(update={"max_updates": min(TIMED_UPDATES, self.max_updates)})


class Learner(Method):
    """A method that has sampled masks scored, in updates of M, and learns from them how to rank the filters."""

    def __init__(self, settings: LearnerSettings) -> None:
        self.learning = settings

    def asked(self, num_filters: int, candidates: int | None) -> Asked:
        most = self.max_updates(num_filters, candidates)
        return Asked(self.learning.masks_per_update, (min(self.fewest_updates, most), most))

    def max_updates(self, num_filters: int, candidates: int | None) -> int:
        """Most updates in a layer that may ask for ``candidates``; none where there is nothing to choose."""
        s = self.learning
        if num_filters == 1:
            return 0
        if candidates is None:
            return s.max_updates
        return min(s.max_updates, int(candidates * s.learning_share) // s.masks_per_update)

    @property
    def fewest_updates(self) -> int:
        """Updates before it may stop by itself."""
        return self.learning.max_updates

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        """What was learned; where there are too few candidates to learn, the ranking of :meth:`start`."""
        num_updates = self.max_updates(layer.num_filters, evaluate.left)
        if num_updates == 0:
            return Ranking(most_important_first(self.start(layer)))
        return self.learn(layer, evaluate, rng, num_updates)

    @abstractmethod
    def learn(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator, num_updates: int) -> Ranking:
        """The ranking after at most ``num_updates`` updates of M masks, at least one."""

    def start(self, layer: LayerView) -> Tensor:
        """(N,) float64: the importance of each filter to the criterion ``prior``, or else its L1 norm."""
        return layer.importance(METHODS.build(self.learning.prior or "magnitude", {}))


def ranks(importance_N: Tensor) -> Tensor:
    """(N,) float32: from -1/2 for the least important filter to 1/2 for the most, linear in the rank.

    Among equally important filters the first in the layer ranks lowest.
    """
    rank_N = importance_N.argsort(stable=True).argsort().float()
    return rank_N / max(1, len(importance_N) - 1) - 0.5


def most_important_first(importance_N: Tensor, among_equals_N: Tensor | None = None) -> list[int]:
    """The filters in order; among equals by ``among_equals_N``, then the first in the layer first."""
    order = torch.arange(len(importance_N))
    for values_N in (importance_N,) if among_equals_N is None else (among_equals_N, importance_N):
        order = order[values_N[order].argsort(descending=True, stable=True)]
    return order.tolist()


def entropy(logits_N: Tensor) -> float:
    """Mean entropy of the N Bernoulli variables, in nats per filter."""
    probs_N = torch.sigmoid(logits_N)
    return float((F.softplus(logits_N) - probs_N * logits_N).mean())


def sample_masks(logits_N: Tensor, number: int, rng: torch.Generator) -> list[Tensor]:
    """Independent Bernoulli draws; an empty mask is drawn again up to 100 times, then keeps the likeliest filter."""
    probs_N = torch.sigmoid(logits_N)
    masks = []
    for _ in range(number):
        for _ in range(101):
            mask = torch.rand(len(probs_N), generator=rng) < probs_N
            if mask.any():
                break
        else:
            mask[int(probs_N.argmax())] = True
        masks.append(mask)
    return masks


def draw_unseen(draw: Callable[[], Tensor], number: int, evaluate: Evaluate) -> list[Tensor]:
    """Masks from ``draw``, each drawn again up to :data:`REDRAWS` times while it has been drawn or scored before."""
    known = {bytes(mask.numpy()) for mask, _ in evaluate.seen}
    masks = []
    for _ in range(number):
        mask = next((m for m in (draw() for _ in range(REDRAWS)) if bytes(m.numpy()) not in known), None)
        mask = draw() if mask is None else mask
        known.add(bytes(mask.numpy()))
        masks.append(mask)
    return masks


def seen_masks(evaluate: Evaluate) -> Tensor:
    """(number scored, N) float64: the keep masks of all candidates so far, 1 = kept."""
    return torch.stack([mask for mask, _ in evaluate.seen]).double()
