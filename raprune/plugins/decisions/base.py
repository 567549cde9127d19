"""The contract of a decision stage: from a ranking of a layer's filters to its keep mask.

Legend: N filters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from raprune.plugins.methods.base import Evaluate, Ranking


class DecisionStage(ABC):
    """Decides which filters of a ranked layer go, by having keep masks scored."""

    spends: ClassVar[bool] = False
    """Whether it goes on until the layer's candidates are spent, as a rule; the estimate counts on it."""

    @property
    def at_once(self) -> int:
        """Masks that it asks for at once; 1 if each mask depends on the score of the one before."""
        return 1

    @abstractmethod
    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """(N,) bool: the keep mask of the layer, within the drop bound; all filters if no mask is.

        Deterministic. ``evaluate.seen`` has what the method scored. Where candidates are spent, ``evaluate`` raises
        :class:`raprune.plugins.methods.base.CandidatesSpent`; whoever called then takes :func:`fewest_kept`.
        """

    @abstractmethod
    def asked(self, num_filters: int) -> tuple[int, int]:
        """Fewest and most masks it asks to have scored in a layer, without a limit."""


def fewest_kept(evaluate: Evaluate, num_filters: int) -> Tensor:
    """(N,) bool: the scored mask within the bound that keeps fewest filters, the best score first, then the earliest.

    All filters if no scored mask is within the bound.
    """
    feasible = [(mask, e) for mask, e in evaluate.seen if e.feasible]
    best = min(feasible, key=lambda pair: (int(pair[0].sum()), -(pair[1].score or 0.0)), default=None)
    return torch.ones(num_filters, dtype=torch.bool) if best is None else best[0]
