"""The guard in a trial: sealed from candidates, heard at every commit, and how it falls back."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.engine.base import Engine
from raprune.engine.paired import Paired, largest_difference
from raprune.engine.tasks import Finetune, Look, Measure, Task
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, set_aside
from raprune.trial.candidates import Candidates
from raprune.trial.committed import Committed
from raprune.trial.fallbacks import MAX_BISECTED
from raprune.trial.guard import MAX_LOOKS, Guard, confidence_after
from raprune.trial.within_bound import Contract, commit_as_given, commit_within_bound
from tests.tiny import EngineEvaluator, Trained, candidates_of, engine_of

BASE, LAYER = State.baseline("baseline"), "features.24"
BOUND = 5.0


class Guarded(EngineEvaluator):
    """A real evaluator that records its tasks; ``drops`` are what successive looks at the guard say, if given."""

    def __init__(self, engine: Engine, drops: list[float] | None = None) -> None:
        super().__init__(engine)
        self.drops = drops
        self.looked: list[State] = []
        self.num_finetunes = 0

    def run(self, task: Task[Any], state: State) -> Any:
        self.num_finetunes += isinstance(task, Finetune)
        if not isinstance(task, Look):
            return super().run(task, state)
        self.looked.append(state)
        if self.drops is None:
            return super().run(task, state)
        drop = self.drops[len(self.looked) - 1]
        return Paired(90 - drop, drop, 100, 0.0, 100, lost=round(drop), won=0)


def engine_with_guard(trained: Trained) -> Engine:
    return engine_of(trained.network, set_aside(trained.splits, 0.4, seed=0))


@functools.cache
def scored_once(trained: Trained) -> tuple[Engine, Tensor, Candidates]:
    """An engine, the ranks of one layer's filters, and its masks that keep the first of them, scored."""
    engine = engine_with_guard(trained)
    candidates = candidates_of(engine, LAYER, BOUND)
    norms = engine.weights[f"{LAYER}.weight"].flatten(1).abs().sum(1)
    ranks = norms.argsort(descending=True).argsort()
    candidates([ranks < kept for kept in range(2, 32)])
    return engine, ranks, candidates


class Search:
    """Some scored candidates of one layer, and the contract with its guard."""

    def __init__(self, trained: Trained, warranty: float | None = None, drops: list[float] | None = None) -> None:
        self.engine, self.ranks, scored = scored_once(trained)
        self.evaluator = Guarded(self.engine, drops)
        self.candidates = copy.copy(scored)
        self.candidates.evaluator = self.evaluator
        self.candidates.rows, self.candidates.seen = [*scored.rows], [*scored.seen]
        self.decided = self.candidates.feasible_masks()[0]
        self.guard = Guard(self.evaluator, 180, warranty)
        self.contract = Contract(self.evaluator, self.engine.graph, self.candidates.scale, guard=self.guard)

    def commit(self, round_up: Callable[[KeepMask], KeepMask] = lambda mask: mask) -> Committed:
        return commit_within_bound(self.contract, self.candidates, self.decided, 12.5, round_up)


def test_a_candidate_cannot_see_the_guard(trained: Trained) -> None:
    """Other guard images, labels included: the same scores, fine-tunes and candidates."""
    splits = set_aside(trained.splits, 0.4, seed=0)
    guard = splits.split("guard")
    other = Split(255 - guard.images_BCHW, (guard.labels_B + 1) % 10)
    results, on_guard = [], []
    for part in (guard, other):
        engine = engine_of(trained.network, replace(splits, guard=part), before_reward=2)
        masks = [KeepMask.of(torch.arange(32) % step != 0) for step in (2, 3, 5)]
        scores = [scored.score for scored in engine.evaluate_many(BASE, LAYER, masks, None, [None] * 3)]
        states = [engine.candidate(BASE, LAYER, masks[0]), engine.finetune(BASE, "commit", "x")]
        results.append((scores, [state.version for state in states], engine.measure(BASE, "val")))
        on_guard.append(engine.measure(BASE, "guard"))
    assert results[0] == results[1]
    assert on_guard[0] != on_guard[1]


def test_a_look_pairs_the_state_with_the_baseline(trained: Trained) -> None:
    engine = engine_with_guard(trained)
    cut = BASE.cut(engine.graph, LAYER, KeepMask.of(torch.arange(32) % 3 == 0))
    paired = Look().run(engine, cut)
    guard = engine.splits.split("guard")
    with torch.inference_mode():
        images = engine.as_input(guard.images_BCHW)
        right = [engine.forward(state)(images).argmax(1) == guard.labels_B for state in (BASE, cut)]
    assert (paired.lost, paired.won) == (int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    assert paired.score == Measure("guard").run(engine, cut)
    assert paired.score + paired.drop == pytest.approx(Measure("guard").run(engine, BASE))
    assert paired.drop > 0


def test_what_the_guard_allows_is_committed_after_one_look(trained: Trained) -> None:
    search = Search(trained, drops=[BOUND])
    found = search.commit()
    assert found.keep_mask == search.decided
    assert (found.num_guard_looks, search.guard.num_looks, search.guard.num_refused) == (1, 1, 0)
    assert found.paired is not None
    assert found.paired.drop == BOUND
    assert search.evaluator.looked == [found.state]


def test_a_refused_mask_gives_way_to_one_with_the_slack_that_was_missing(trained: Trained) -> None:
    search = Search(trained, drops=[BOUND + 1.5, BOUND - 1])
    found = search.commit()
    score_of = search.candidates.score_of
    needed = (score_of(search.decided) or 0) + 1.5
    first = next(mask for mask in search.candidates.feasible_masks() if (score_of(mask) or 0) >= needed)
    assert found.keep_mask == first
    assert found.keep_mask.num_kept > search.decided.num_kept
    assert (found.num_guard_looks, search.guard.num_refused) == (2, 1)


def test_few_masks_are_shown_before_the_layer_stays_whole(trained: Trained) -> None:
    search = Search(trained, drops=[BOUND + 0.01] * 9)
    found = search.commit()
    assert found.keep_mask.keeps_all
    assert found.state is search.candidates.state
    assert found.paired is None
    assert found.num_guard_looks == search.guard.num_looks == search.guard.num_refused == len(search.evaluator.looked)
    assert found.num_guard_looks == MAX_LOOKS


def test_no_mask_is_trained_for_a_guard_that_has_been_shown_enough(trained: Trained) -> None:
    """With credit the masks are bisected: six more could be tried."""
    search = Search(trained, drops=[BOUND + 1] * 9)
    search.candidates.scale = search.candidates.scale.lent(60.0)
    assert MAX_BISECTED > MAX_LOOKS
    assert len(search.candidates.feasible_masks()) > 2**MAX_LOOKS
    search.contract.scale = replace(search.contract.scale, baseline_score=0.0)  # on val all of them hold
    assert search.commit().keep_mask.keeps_all
    assert len(search.evaluator.looked) == search.evaluator.num_finetunes == MAX_LOOKS


def test_a_rounded_mask_has_the_slack_of_the_one_it_was_rounded_from(trained: Trained) -> None:
    search = Search(trained, drops=[BOUND + 3, BOUND - 1])
    score_of = search.candidates.score_of
    needed = (score_of(search.decided) or 0) + 3
    first = next(mask for mask in search.candidates.feasible_masks() if (score_of(mask) or 0) >= needed)
    assert first != search.candidates.feasible_masks()[1]
    least = KeepMask.of(search.ranks == 31)  # no scored mask keeps it

    def rounded(mask: KeepMask) -> KeepMask:
        return KeepMask.of(mask.tensor | least.tensor)

    found = search.commit(rounded)
    assert (found.keep_mask, found.num_guard_looks) == (rounded(first), 2)
    assert found.num_decided == first.num_kept


def test_no_mask_over_the_bound_on_val_is_shown(trained: Trained) -> None:
    search = Search(trained)
    search.contract.scale = replace(search.contract.scale, baseline_score=300.0)
    assert search.commit().keep_mask.keeps_all
    assert search.evaluator.looked == []


def test_a_warranty_asks_for_the_limit(trained: Trained) -> None:
    """With 1 of 100 images lost the drop is 1 point; its limit at 97.5% is above the bound of 5."""
    assert 100 * largest_difference(1, 0, 100, 0.975) > BOUND
    assert not Search(trained, drops=[1.0]).commit().keep_mask.keeps_all
    search = Search(trained, 0.95, drops=[1.0] * 9)
    assert search.commit().keep_mask.keeps_all
    assert search.guard.num_refused > 0


def test_each_refusal_halves_the_error_that_is_left() -> None:
    confidences = [confidence_after(number, 0.95) for number in range(3)]
    assert confidences == pytest.approx([0.975, 0.9875, 0.99375])
    assert sum(1 - confidence_after(number, 0.9) for number in range(60)) == pytest.approx(0.1)


def test_candidates_leave_what_val_flatters_their_state_by_and_what_is_luck(trained: Trained) -> None:
    search = Search(trained, drops=[2.0, 0.5, 9.0, 4.0])
    scale, search.guard.num_val = search.contract.scale, 720
    error = 1.5 * 100 * (0.05 / 720) ** 0.5  # where 5% of the answers change
    flattered = search.contract.search_scale(BASE, scale.baseline_score - 1.0)
    assert flattered.baseline_score == pytest.approx(scale.baseline_score + 1.0 + error)
    assert flattered.drop_bound == scale.drop_bound
    unflattered = search.contract.search_scale(BASE, scale.baseline_score - 1.0)  # what the guard gains is not spent
    assert unflattered.baseline_score == pytest.approx(scale.baseline_score + error)
    assert search.guard.margin(BASE, 1.0, BOUND) == 0.5 * BOUND
    search.guard.warranty = 0.95
    assert search.guard.margin(BASE, 1.0, BOUND) > 3.0 + error > 0.5 * BOUND
    assert search.guard.num_looks == 0
    search.contract.guard = None
    assert search.contract.search_scale(BASE, 0.0) == scale


def test_a_matched_layer_is_measured_but_not_judged(trained: Trained) -> None:
    search = Search(trained, drops=[80.0])
    mask = KeepMask.of(torch.arange(32) == 3)
    found = commit_as_given(search.contract, BASE, LAYER, mask)
    assert found.keep_mask == mask
    assert found.paired is not None
    assert (found.paired.drop, found.num_guard_looks, search.guard.num_refused) == (80.0, 1, 0)


def test_a_resumed_trial_counts_its_earlier_looks(trained: Trained) -> None:
    rows: list[dict[str, Any]] = [
        {"num_guard_looks": 2, "guard_score": 90.0},
        {"num_guard_looks": 3, "guard_score": None},
        {"num_guard_looks": 0, "guard_score": None},
        {"num_guard_looks": 1, "applied": True},
        {"num_guard_looks": 1, "applied": False},
        {"guard_score": None},
    ]
    guard = Guard.resumed(Guarded(scored_once(trained)[0]), 180, 0.95, rows)
    assert (guard.num_looks, guard.num_refused) == (7, 5)
    rows.append({"num_guard_looks": 3, "num_guard_refused": 1, "guard_score": 90.0})  # of two allowed one was kept
    guard = Guard.resumed(Guarded(scored_once(trained)[0]), 180, 0.95, rows)
    assert (guard.num_looks, guard.num_refused) == (10, 6)
