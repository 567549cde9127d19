"""Searched and matched trials accept by the same rules; what must differ is here, too. Scores are made by hand.

The baseline scores 100 and the bound is 2 points.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from raprune.engine.tasks import Candidate, Finetune, Measure, Task
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.registry import REWARDS
from raprune.trial.candidates import Candidates, Scale
from raprune.trial.committed import Committed
from raprune.trial.ending import finish
from raprune.trial.within_bound import Contract, commit_as_given, commit_within_bound

BASE, LAYER = State.baseline("baseline"), "features.0"
MASK = KeepMask.of(torch.arange(8) < 4)
SCALE = Scale(100.0, 2.0, REWARDS.build("bounded_log", {"floor": -1.0}))
DIVERGED = math.nan


class Made:
    """An evaluator whose weights are their validation score; a score of NaN is a training that diverged."""

    def __init__(self, finetuned: float, as_scored: float, as_cut: float = 90.0) -> None:
        self.scores = {"finetune": finetuned, "candidate": as_scored}
        self.as_cut = as_cut

    def run(self, task: Task[Any], state: State) -> Any:
        if isinstance(task, Measure):
            return float(state.arrays["score"][0]) if state.arrays else self.as_cut
        if isinstance(task, Candidate):
            state = State("baseline", {task.layer: task.mask}, {})
        assert isinstance(task, Candidate | Finetune)
        score = self.scores["candidate" if isinstance(task, Candidate) else "finetune"]
        return State("baseline", state.cuts, {"score": np.array([score])})


def committed(made: Made, is_matched: bool) -> Committed:
    contract = Contract(cast(Any, made), cast(Any, None), SCALE, trains=True)
    if is_matched:
        return commit_as_given(contract, BASE, LAYER, MASK)
    candidates = Candidates(cast(Any, made), BASE, LAYER, 8, SCALE, lambda _: None)
    return commit_within_bound(contract, candidates, MASK, 100.0)


@pytest.mark.parametrize(
    ("finetuned", "as_scored", "taken", "num_diverged"),
    [
        (99.0, 98.0, 99.0, 0),
        (98.0, 99.0, 98.0, 0),  # the first within the bound, not the best
        (97.0, 98.5, 98.5, 0),
        (DIVERGED, 98.5, 98.5, 1),
        (98.5, DIVERGED, 98.5, 0),
        (101.0, 90.0, 101.0, 0),
    ],
)
def test_within_the_bound_both_take_the_same_weights(
    finetuned: float, as_scored: float, taken: float, num_diverged: int
) -> None:
    searched, matched = (committed(Made(finetuned, as_scored), is_matched) for is_matched in (False, True))
    assert searched.decided_held is True
    assert matched.decided_held is None
    assert replace(searched, state=BASE, decided_held=None) == replace(matched, state=BASE)
    assert searched.state.version == matched.state.version
    assert searched.keep_mask == MASK
    assert (searched.finetuned_val_score, searched.num_diverged) == (taken, num_diverged)
    assert searched.state.arrays["score"].tolist() == [taken]
    assert searched.cut_val_score == 90.0


@pytest.mark.parametrize(
    ("finetuned", "as_scored", "taken", "num_diverged"),
    [
        (95.0, 96.0, 96.0, 0),
        (96.0, 95.0, 96.0, 0),
        (DIVERGED, 96.0, 96.0, 1),
        (96.0, DIVERGED, 96.0, 1),
        (DIVERGED, DIVERGED, 90.0, 2),  # the weights as cut, which no training has touched
    ],
)
def test_over_the_bound_a_matched_trial_keeps_its_mask_and_a_searched_one_the_layer(
    finetuned: float, as_scored: float, taken: float, num_diverged: int
) -> None:
    """What must differ: a matched trial has its partner's ratio, a searched one its bound."""
    searched, matched = (committed(Made(finetuned, as_scored), is_matched) for is_matched in (False, True))
    assert (matched.keep_mask, matched.finetuned_val_score) == (MASK, taken)
    assert searched.keep_mask.keeps_all
    assert (searched.state, searched.finetuned_val_score) == (BASE, 100.0)
    assert searched.num_diverged == matched.num_diverged == num_diverged


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (98.5, 99.0, True),
        (99.0, 98.0, True),  # worse, and within the bound
        (99.0, 97.9, False),
        (96.0, 96.0, True),  # over the bound, as only a matched trial can be, and no worse
        (96.0, 95.9, False),
        (96.0, 98.0, True),
        (99.0, DIVERGED, False),
    ],
)
def test_both_keep_the_same_final_finetune(before: float, after: float, kept: bool) -> None:
    state = State("baseline", {LAYER: MASK}, {})
    found = []
    for matched in (False, True):
        contract = Contract(cast(Any, Made(after, 0.0)), cast(Any, None), SCALE)
        end, score, num_diverged = finish(contract, state, before, matched)
        found.append((end.version, score, num_diverged))
        assert score == (after if kept else before)
        assert bool(end.arrays) == kept
    assert found[0] == found[1]
