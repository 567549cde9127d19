"""Group trim, then swaps: spends the layer's candidates until nothing more fits.

Group trim takes away blocks of the least important kept filters and halves the blocks where none fits; swaps then drop
two filters and add one. Both are our own. Several proposals are scored at once and the first that fits is taken, in
their order, so that the outcome does not depend on how many evaluators there are.

Legend: N filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.methods.base import Evaluate, Ranking
from raprune.registry import DECISIONS, Settings


class SearchSettings(Settings):
    proposals: int = Field(default=4, ge=1)
    """Masks scored at once; the first that fits is taken. More keep more evaluators busy and cost more candidates."""
    patience: int = Field(default=200, ge=0)
    """Swaps in a row that do not fit after which the search ends, where the layer's candidates are not limited."""


@DECISIONS.register("search", SearchSettings)
class Search(DecisionStage):
    """Takes away blocks of the least important filters, then swaps two for one, as long as it fits."""

    def __init__(self, settings: SearchSettings) -> None:
        self.settings = settings

    @property
    def at_once(self) -> int:
        return self.settings.proposals

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The best mask after group trim and swaps."""
        climb = _Climb(ranking, evaluate, self.settings.proposals)
        size = max(1, len(ranking.order) // 2)
        while size:
            while climb.first(climb.blocks(size)):
                pass
            size //= 2
        tried = 0
        while climb.first(climb.swaps()):
            tried += 1
        return climb.mask

    def asked(self, num_filters: int) -> tuple[int, int]:
        return min(1, num_filters - 1), num_filters * 4 + self.settings.patience


class _Climb:
    """The mask so far and the proposals around it."""

    def __init__(self, ranking: Ranking, evaluate: Evaluate, at_once: int) -> None:
        self.order = list(ranking.order)
        self.evaluate = evaluate
        self.at_once = at_once
        self.mask = fewest_kept(evaluate, len(self.order)).clone()
        self.known = {bytes(mask.numpy()) for mask, _ in evaluate.seen}

    def first(self, proposals: Iterator[Tensor]) -> bool:
        """Take the first proposal that fits, if any."""
        fresh = (mask for mask in proposals if bytes(mask.numpy()) not in self.known)
        while self.evaluate.left != 0 and (some := list(islice(fresh, self.at_once))):
            some = some[: self.evaluate.left]
            self.known |= {bytes(mask.numpy()) for mask in some}
            for mask, evaluation in zip(some, self.evaluate(some), strict=True):
                if evaluation.feasible:
                    self.mask = mask
                    return True
        return False

    def blocks(self, size: int) -> Iterator[Tensor]:
        """The mask without one block of ``size`` kept filters, the least important block first."""
        kept = [i for i in reversed(self.order) if self.mask[i]]
        for start in range(0, len(kept) - 1, size):
            yield self._without(kept[start : min(start + size, len(kept) - (start == 0))])

    def swaps(self) -> Iterator[Tensor]:
        kept = [i for i in reversed(self.order) if self.mask[i]]
        pruned = [i for i in self.order if not self.mask[i]]
        for reach in range(2, len(kept)):
            for added in pruned:
                for pair in combinations(kept[:reach], 2):
                    mask = self._without(list(pair))
                    mask[added] = True
                    yield mask

    def _without(self, filters: list[int]) -> Tensor:
        mask = self.mask.clone()
        mask[torch.tensor(filters)] = False
        return mask
