"""One layer's candidates: has them scored, turns scores into rewards, and collects their rows."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from raprune.errors import RapruneError
from raprune.evaluators.base import EvaluatedMask, Evaluator
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.base import CandidatesSpent, Evaluation
from raprune.plugins.rewards.base import Reward
from raprune.trial.budget import TrialBudget, Unlimited
from raprune.trial.context import Progress

TOLERANCE = 1e-9
"""Points by which a drop may exceed the bound: rounding of differences of percentages."""


@dataclass(frozen=True)
class Scale:
    """Turns scores into rewards: the trial's baseline score, bound and reward."""

    baseline_score: float
    drop_bound: float
    reward: Reward
    start: float | None = None
    """Score of the network before the layer being decided is cut; ``None``: the baseline's."""

    def lent(self, points: float) -> Scale:
        """The scale of candidates that may exceed the bound by so many points."""
        return replace(self, drop_bound=self.drop_bound + points)

    @property
    def lowest(self) -> float | None:
        """Scores below this, in percent, all earn the same reward; ``None`` where there is no such limit."""
        largest = self.reward.largest_drop(self.drop_bound)
        return None if largest is None else self.baseline_score - largest - TOLERANCE

    def feasible(self, score: float | None) -> bool:
        """Whether a score is within the drop bound."""
        return score is not None and self.baseline_score - score <= self.drop_bound + TOLERANCE

    def keeps(self, before: float, after: float) -> bool:
        """Whether to keep a fine-tune: it is within the bound, or no worse than the score ``before`` it."""
        return self.feasible(after) or after >= before

    def evaluation(self, score: float | None, mask: KeepMask) -> Evaluation:
        """The reward of a mask with this score. Raises :class:`RapruneError` for a reward that is not finite."""
        drop = None if score is None else self.baseline_score - score
        reward = self.reward.reward(drop, self.drop_bound, mask.num_filters, mask.num_kept)
        if not math.isfinite(reward):
            raise RapruneError(f"the reward {type(self.reward).__name__} returns {reward} for a score drop of {drop}")
        return Evaluation(reward, score, drop, self.feasible(score))


class Candidates:
    """``evaluate`` of a method: callable with masks.

    Every requested mask goes to the evaluator. The memo in front of it answers for known masks, from this layer or
    anywhere in the study; without the memo (``engine: naive``) a mask is scored again. Once the study's budget is
    spent, a call raises :class:`raprune.trial.budget.BudgetSpent`.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        state: State,
        layer: str,
        num_filters: int,
        scale: Scale,
        progress: Progress,
        budget: TrialBudget | None = None,
    ) -> None:
        """``scale.start`` is the score of ``state``."""
        self.evaluator = evaluator
        self.state = state
        self.layer = layer
        self.num_filters = num_filters
        self.scale = scale
        self.progress = progress
        self.budget = budget or TrialBudget(Unlimited(), "", 0)
        self.rows: list[dict[str, Any]] = []
        self.update_rows: list[dict[str, Any]] = []
        self.seen: list[tuple[Tensor, Evaluation]] = []
        """All scored masks in order; see :class:`raprune.plugins.methods.base.Evaluate`."""
        self._scores: dict[KeepMask, float | None] = {}
        self._num_searched = 0

    @property
    def drop_bound(self) -> float:
        """Points that the network may lose, with this layer pruned."""
        return self.scale.drop_bound

    @property
    def whole(self) -> Evaluation:
        """The network before this layer is pruned; not a candidate."""
        start = self.scale.baseline_score if self.scale.start is None else self.scale.start
        return self.scale.evaluation(start, KeepMask.whole(self.num_filters))

    @property
    def left(self) -> int | None:
        """Candidates that this layer may still ask for; ``None`` without a limit."""
        most = self.most
        return None if most is None else max(0, most - len(self.rows))

    @property
    def most(self) -> int | None:
        """Candidates that may be asked for in all; ``None`` without a limit."""
        return self.budget.per_layer

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        if self.left is not None and len(masks) > self.left:
            raise CandidatesSpent
        self.budget.require()
        return self._evaluations([KeepMask.of(mask, self.num_filters) for mask in masks], policy_entropy)

    def _evaluations(self, masks: Sequence[KeepMask], policy_entropy: float | None) -> list[Evaluation]:
        asked = time.time()
        results = self.evaluator.evaluate(self.state, self.layer, masks, self.scale.lowest)
        answered = time.time()
        results = [replace(one, scored_at=_when(one.scored_at, asked, answered)) for one in results]
        self.budget.take(len(masks))
        self._scores.update((mask, e.scored.score) for mask, e in zip(masks, results, strict=True))
        evaluations = [self.scale.evaluation(e.scored.score, mask) for mask, e in zip(masks, results, strict=True)]
        self.seen += zip([mask.tensor for mask in masks], evaluations, strict=True)
        update = len(self.update_rows) if policy_entropy is not None else None
        self._record(masks, evaluations, results, update)
        if policy_entropy is not None:
            self._record_update(masks, evaluations, policy_entropy)
        learning = policy_entropy is not None or not self.update_rows
        self._tell(masks, evaluations if learning else [], results)
        return evaluations

    def feasible_masks(self) -> list[KeepMask]:
        """All scored masks within the bound, those that leave least first; ties by score, then in order of scoring."""
        ranked = [
            (self.what_is_left(mask), -(score or 0.0), number, mask)
            for number, (mask, score) in enumerate(self._scores.items())
            if self.scale.feasible(score) and not mask.keeps_all
        ]
        return [mask for *_, mask in sorted(ranked)]

    def best_so_far(self) -> KeepMask:
        """The scored mask within the bound that prunes most; a mask of all filters if there is none."""
        return next(iter(self.feasible_masks()), KeepMask.whole(self.num_filters))

    def what_is_left(self, mask: KeepMask) -> int:
        """What makes one mask better than another that is within the bound, too: the filters it keeps."""
        return mask.num_kept

    def score_of(self, *masks: KeepMask) -> float | None:
        """The score of the first of ``masks`` that has one; ``None`` where none was scored, or not to the end."""
        return next((score for mask in masks if (score := self._scores.get(mask)) is not None), None)

    def _record(
        self, masks: Sequence[KeepMask], evaluations: list[Evaluation], results: list[EvaluatedMask], update: int | None
    ) -> None:
        for number, (mask, evaluation, evaluated) in enumerate(zip(masks, evaluations, results, strict=True)):
            self.rows.append(
                {
                    "layer": self.layer,
                    "update": update,
                    "sample": number if update is not None else self._num_searched + number,
                    "keep_mask": mask.flags,
                    "score": evaluation.score,
                    "reward": evaluation.reward,
                    "from_memo": evaluated.from_memo,
                    "images_scored": evaluated.scored.images_scored,
                    "evaluator": evaluated.evaluator,
                    "score_s": evaluated.scored.seconds,
                    "scored_at": None if evaluated.scored_at is None else round(evaluated.scored_at, 1),
                }
            )
        if update is None:
            self._num_searched += len(masks)

    def _record_update(self, masks: Sequence[KeepMask], evaluations: list[Evaluation], policy_entropy: float) -> None:
        rewards = [e.reward for e in evaluations]
        scores = [e.score for e in evaluations if e.score is not None]
        self.update_rows.append(
            {
                "layer": self.layer,
                "update": len(self.update_rows),
                "reward_mean": statistics.fmean(rewards),
                "reward_std": statistics.pstdev(rewards),
                "reward_max": max(rewards),
                "score_mean": statistics.fmean(scores) if scores else None,
                "pruning_ratio_mean": statistics.fmean(mask.pruning_ratio for mask in masks),
                "policy_entropy": policy_entropy,
            }
        )

    def _tell(self, masks: Sequence[KeepMask], evaluations: list[Evaluation], results: Sequence[EvaluatedMask]) -> None:
        """Report progress; the reward shown comes from learning, not from the search after it."""
        rewards = {"reward": statistics.fmean(e.reward for e in evaluations)} if evaluations else {}
        self.progress(
            rewards
            | {
                "layer": self.layer,
                "num_updates": len(self.update_rows),
                "num_candidates": len(self.rows),
                "new_candidates": len(masks),
                "new_scored": sum(not e.from_memo for e in results),
                "new_images": sum(e.scored.images_scored for e in results),
                "new_score_s": sum(e.scored.seconds for e in results),
                "layer_pruning_ratio": statistics.fmean(mask.pruning_ratio for mask in masks),
            }
        )


def _when(scored_at: float | None, asked: float, answered: float) -> float | None:
    """When a candidate was scored. Where the evaluator's clock says a time at which nobody waited for it, it is off."""
    return scored_at if scored_at is None or asked <= scored_at <= answered else answered
