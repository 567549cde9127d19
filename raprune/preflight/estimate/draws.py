"""What is not known before a study has run, and where it lies: each quantity is drawn anew for each possible study.

Ranges that no setting gives are those of the studies recorded in docs/cost.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raprune.plugins.rewards.base import Reward
from raprune.preflight.checks import Facts
from raprune.registry import REWARDS
from raprune.study import TrialSpec

NUM_DRAWS = 400
ASSUMED_SCORE = 90.0
"""Of a baseline that is still to be trained, percent."""
SEEN_WHOLE = (0.5, 1.0)
"""Share of candidates that are so near to the floor that all images are seen."""
KNOWN = (0.0, 0.2)
"""Share of candidates that the memo answers."""
PRUNED = (0.05, 0.65)
"""Share of the filters that trials have pruned at their end."""
TRIES = (0.5, 1.5)
"""Masks that a layer's commit fine-tunes and scores: none for a layer that stays whole, several at the bound."""


@dataclass(frozen=True)
class Draw:
    """One possible course of a study."""

    updates: float
    """Where between the fewest and the most updates of a layer the agents converge, 0 to 1."""
    searched: np.random.Generator
    """Of the masks asked for one by one, layer by layer."""
    seen_whole: float
    known: float
    pruned: float
    tries: float
    speed: float
    """Factor on all times: 1 is the speed while timing."""

    def between(self, fewest_and_most: tuple[int, int]) -> float:
        """A layer's number of masks asked for one by one."""
        return float(self.searched.uniform(*fewest_and_most))


def draws(sigma: float, share: float = 1.0, seed: int = 0) -> Iterator[Draw]:
    """``sigma``: of the logarithm of this machine's speed; ``share``: of its time that was not others', as measured."""
    for number in range(NUM_DRAWS):
        rng = np.random.default_rng((seed, number))
        updates, seen, known, pruned, tries = (
            float(rng.uniform(low, high)) for low, high in ((0.0, 1.0), SEEN_WHOLE, KNOWN, PRUNED, TRIES)
        )
        crowd = share ** float(rng.uniform(-1.0, 1.0))
        yield Draw(updates, rng, seen, known, pruned, tries, crowd * math.exp(float(rng.normal(0.0, sigma))))


def middle() -> Draw:
    """The middle of every range."""
    seen, known, pruned, tries = ((low + high) / 2 for low, high in (SEEN_WHOLE, KNOWN, PRUNED, TRIES))
    return Draw(0.5, np.random.default_rng(0), seen, known, pruned, tries, 1.0)


def share_when_hopeless(trial: TrialSpec, facts: Facts, num_classes: int) -> float:
    """The share of the images after which a hopeless candidate is given up; 1 where none ever is.

    A network at chance level gets about one of ``num_classes`` images right, those of small margin come first, and as
    many must be wrong as the baseline has wrong and the reward's floor allows on top.
    """
    reward: Reward = REWARDS.build(trial.reward.name, trial.reward.settings)
    score = ASSUMED_SCORE if facts.checkpoint_score is None else facts.checkpoint_score
    bound = trial.drop_bound if trial.drop_bound is not None else score - (trial.score_floor or 0.0)
    largest = reward.largest_drop(max(bound, 0.0))
    if largest is None or facts.score_unit != "percent":
        return 1.0
    wrong: float = (100.0 - score + largest) / 100.0
    return min(1.0, wrong / (1.0 - 1.0 / max(2, num_classes)))
