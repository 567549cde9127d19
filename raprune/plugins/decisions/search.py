"""Blocks and swaps in the order of what they promise: spends the layer's candidates where filters can still go.

A proposal takes away a block of kept filters, or takes two and gives one back. All proposals around the best mask so
far are compared by how many filters they prune and how likely they are to be within the bound, as a model of
what pruning costs (:mod:`raprune.plugins.decisions.prices`) has it; the most promising are scored, and the model learns
from them. At first only the ranking speaks, and blocks are large; once prices are known, single filters and swaps
remain. All of this is our own.

Several proposals may be scored at once. Which one is taken depends on their order alone, so the outcome does not
depend on how many evaluators there are.

Legend: N filters, C proposals.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.decisions.prices import Learned, Prices, Prior
from raprune.plugins.methods.base import Evaluate, Evaluation, Ranking
from raprune.registry import DECISIONS, Settings

REACH = 6
"""Swaps take from this many of the cheapest kept filters and give back one of as many of the dearest pruned ones."""
MOST_OVER = 2.0
"""Largest drop that prices are learned from, as a share of what the bound leaves; what is worse counts as this."""
JUST_OVER = 1.2
"""Drop of a proposal that is supposed not to fit, while the next one is chosen."""
LEAST_LEFT = 0.05
"""Share of the bound that counts as left where less is."""


class SearchSettings(Settings):
    proposals: int = Field(default=2, ge=1)
    """Masks scored at once. More keep more evaluators busy and cost more candidates."""
    boldness: float = Field(default=0.5, gt=0, le=1)
    """A proposal promises the number of filters it prunes, to this power, times its chance to be within the bound."""
    patience: int = Field(default=60, ge=1)
    """Candidates without gain after which the search ends; it goes on where candidates_per_layer sets a limit."""


@DECISIONS.register("search", SearchSettings)
class Search(DecisionStage):
    """Prunes blocks of filters, then single ones and swaps, most promising first, until nothing more fits."""

    spends = True

    def __init__(self, settings: SearchSettings) -> None:
        self.settings = settings

    @property
    def at_once(self) -> int:
        return self.settings.proposals

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The mask within the bound that keeps fewest filters, of all scored."""
        climb = _Climb(ranking, evaluate, self.settings)
        while climb.goes_on and (masks := climb.propose()):
            climb.learn(masks, evaluate(masks))
        return climb.best

    def asked(self, num_filters: int) -> tuple[int, int]:
        return 0, (num_filters - 1) * self.settings.patience


class _Climb:
    """The best mask so far, and the prices around it."""

    def __init__(self, ranking: Ranking, evaluate: Evaluate, settings: SearchSettings) -> None:
        self.evaluate, self.settings = evaluate, settings
        num_filters = len(ranking.order)
        self.best = fewest_kept(evaluate, num_filters)
        self.prices = Prices(ranking.order, Prior())
        self.known: set[bytes] = set()
        self.idle = 0
        whole = torch.ones(num_filters, dtype=torch.bool)
        self._observe(whole, evaluate.whole)
        for mask, evaluation in evaluate.seen:
            self._observe(mask, evaluation)

    @property
    def goes_on(self) -> bool:
        """Whether filters and candidates are left; without a limit, whether the last candidates gained anything."""
        left = self.evaluate.left
        return bool(self.best.sum() > 1) and (left > 0 if left is not None else self.idle < self.settings.patience)

    def propose(self) -> list[Tensor]:
        """The most promising masks that were not scored yet, each as if those before it turned out not to fit."""
        left = self.evaluate.left
        number = self.settings.proposals if left is None else min(self.settings.proposals, left)
        masks: list[Tensor] = []
        with self.prices.supposing() as suppose:
            while len(masks) < number and (mask := self._most_promising()) is not None:
                masks.append(mask)
                self.known.add(bytes(mask.numpy()))
                suppose(mask, JUST_OVER)
        return masks

    def _most_promising(self) -> Tensor | None:
        learned = self.prices.learned()
        pruned_CN = self._around(learned)
        gain_C = pruned_CN.sum(1) - float((~self.best).sum())
        promise_C = gain_C**self.settings.boldness * learned.fits(pruned_CN)
        for index in promise_C.argsort(descending=True, stable=True).tolist():
            mask = pruned_CN[index] == 0
            if bytes(mask.numpy()) not in self.known:
                return mask
        return None

    def learn(self, masks: list[Tensor], evaluations: list[Evaluation]) -> None:
        """Observe scored proposals and take the one that keeps fewest filters, the first among equals."""
        for mask, evaluation in zip(masks, evaluations, strict=True):
            self._observe(mask, evaluation)
            self.idle += 1
            if evaluation.feasible and mask.sum() < self.best.sum():
                self.best, self.idle = mask, 0

    def _observe(self, mask: Tensor, evaluation: Evaluation) -> None:
        """Learn from a mask; drops are measured from the whole layer, in what the bound leaves."""
        bound = self.evaluate.drop_bound
        start = self.evaluate.whole.score_drop or 0.0
        left = max(bound - start, LEAST_LEFT * bound)
        drop = MOST_OVER if evaluation.score_drop is None else (evaluation.score_drop - start) / left
        self.prices.observe(mask, min(drop, MOST_OVER))
        self.known.add(bytes(mask.numpy()))

    def _around(self, learned: Learned) -> Tensor:
        """(C, N) floats, 1 = pruned: the best mask without each block of its cheapest filters, without each single one,
        and with each swap of two cheap kept filters for a dear pruned one."""
        prices_N, here_N = learned.prices_at(self.best), (~self.best).double()
        cheap, dear = prices_N.argsort(stable=True), prices_N.argsort(descending=True, stable=True)
        kept_K, dear_D = cheap[self.best[cheap]], dear[~self.best[dear]][:REACH]
        further = len(kept_K) - 1
        pairs_P2 = torch.combinations(kept_K[:REACH])
        pruned_CN = here_N.repeat(2 * further + len(pairs_P2) * len(dear_D), 1)
        blocks, singles, swaps = pruned_CN[:further], pruned_CN[further : 2 * further], pruned_CN[2 * further :]
        blocks[:, kept_K[:-1]] = torch.ones(further, further).tril().double()
        singles.scatter_(1, kept_K[1:, None], 1.0)
        swaps.scatter_(1, pairs_P2.repeat_interleave(len(dear_D), 0), 1.0)
        swaps.scatter_(1, dear_D.repeat(len(pairs_P2))[:, None], 0.0)
        return pruned_CN
