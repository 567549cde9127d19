"""What is tried in place of a mask that the guard refused: parts of it, where candidates may exceed the bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from raprune.engine.tasks import Measure, Task
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.trial.committed import Committed
from raprune.trial.fallbacks import LEAST_PART, MAX_BISECTED, MOST_PART, bisected, part_of, share_left
from raprune.trial.guard import MAX_LOOKS, share_held_back
from raprune.trial.within_bound import commit_within_bound
from tests.tiny import Trained
from tests.trial.test_guard import BASE, BOUND, Search

NUM_PRUNED = 30
"""Of 32 filters, where the mask keeps two."""


class Bold(Search):
    """Candidates that may exceed the bound by so much that all are feasible, as they are on val."""

    def __init__(self, trained: Trained, drops: list[float]) -> None:
        super().__init__(trained, drops=drops)
        self.candidates.scale = self.candidates.scale.lent(90.0)
        self.contract.scale = replace(self.contract.scale, baseline_score=0.0)
        self.order = self.ranks.argsort().tolist()

    def commit_bold(self) -> Committed:
        decided = KeepMask.of(self.ranks < 2)
        return commit_within_bound(self.contract, self.candidates, decided, 12.5, order=self.order)


def test_a_refused_mask_gives_way_to_a_part_of_it(trained: Trained) -> None:
    """The edge is half an answer above the bound: as far from what was lost before the layer as from what it lost."""
    edge = BOUND + 0.5
    search = Bold(trained, drops=[edge + 2.5, edge - 2.5, BOUND])
    found = search.commit_bold()
    assert found.keep_mask == KeepMask.of(search.ranks < 2 + NUM_PRUNED // 2)  # the most important ones come back
    assert found.num_decided == found.keep_mask.num_kept
    assert (found.num_guard_looks, search.guard.num_looks, search.guard.num_refused) == (2, 2, 1)
    assert found.decided_held


def test_a_part_may_be_refused_too_and_then_the_layer_stays_whole(trained: Trained) -> None:
    """At the bound itself half an answer is left: a quarter of the filters, and a quarter of that."""
    refused, at_the_bound = BOUND + 5, BOUND
    search = Bold(trained, drops=[refused, at_the_bound, refused, at_the_bound, refused, *[refused] * 9])
    assert search.commit_bold().keep_mask.keeps_all
    shown = [state.keep_masks()[search.candidates.layer] for state in search.evaluator.looked[:5:2]]
    assert [int((~kept).sum()) for kept in shown] == [NUM_PRUNED, 7, 1]  # between them: the network before the layer
    assert search.guard.num_looks == MAX_LOOKS


def test_a_part_that_is_over_the_bound_on_val_is_halved(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Bold(trained, drops=[BOUND + 1, BOUND - 3, BOUND])  # three quarters of the thirty
    on_val, run = [0.0, -BOUND - 1, -BOUND - 1, 0.0], search.evaluator.run  # either weights of the first part

    def told(task: Task[Any], state: State) -> Any:
        return on_val.pop(0) if isinstance(task, Measure) and task.split == "val" and on_val else run(task, state)

    monkeypatch.setattr(search.evaluator, "run", told)
    found = search.commit_bold()
    assert found.keep_mask.num_kept == 32 - int(0.75 * NUM_PRUNED) // 2
    assert found.num_guard_looks == 2


def test_what_val_refuses_is_not_cut_to_parts(trained: Trained) -> None:
    """The bisection of scored masks finds the last that the bound allows; no part of one was tried."""
    search = Bold(trained, drops=[0.0] * 9)
    search.contract.scale = replace(search.candidates.scale, drop_bound=BOUND)
    found = search.commit_bold()
    assert found.keep_mask in search.candidates.feasible_masks()
    assert found.num_guard_looks >= 1


def test_what_val_refuses_in_a_joint_pass_is_halved(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other mask was scored, so that bisection would leave all of them."""
    search = Bold(trained, drops=[0.0])
    number = sum(group.num_filters for group in search.engine.graph.groups.values())
    candidates, order = search.candidates, list(range(number))
    candidates.layer, candidates.num_filters, candidates.seen = ALL_LAYERS, number, []
    on_val, run = [-BOUND - 1, -BOUND - 1, 0.0], search.evaluator.run  # either weights of the decided mask

    def told(task: Task[Any], state: State) -> Any:
        return on_val.pop(0) if isinstance(task, Measure) and task.split == "val" and on_val else run(task, state)

    monkeypatch.setattr(search.evaluator, "run", told)
    decided = KeepMask.of(torch.arange(number) < number - 4)
    found = commit_within_bound(search.contract, candidates, decided, 12.5, order=order)
    assert found.keep_mask == KeepMask.of(torch.arange(number) < number - 2)
    assert (found.decided_held, found.num_guard_looks) == (False, 1)


def test_parts_of_a_bisected_mask_end_the_bisection_unless_another_was_allowed() -> None:
    masks = [(KeepMask.of(torch.arange(40) < kept), KeepMask.of(torch.arange(40) < kept)) for kept in range(3, 30)]
    asked: list[int] = []

    def tried(mask: KeepMask, chosen: KeepMask) -> int | None:
        asked.append(chosen.num_kept)
        return chosen.num_kept if chosen.num_kept >= 20 else None

    assert bisected(tried, masks, lambda chosen: 100 + chosen.num_kept) == 100 + asked[0]
    assert asked == [16]
    asked.clear()
    assert bisected(tried, masks, lambda chosen: None if chosen.num_kept == 16 else 100) == 20
    assert len(asked) <= MAX_BISECTED


def test_a_part_prunes_the_least_important_filters() -> None:
    mask = KeepMask(bytes([1, 0, 0, 1, 0, 0]))
    order = [5, 3, 4, 0, 1, 2]
    part = part_of(mask, order, 0.5)
    assert part is not None
    assert part.flags == [True, False, False, True, True, True]
    assert part_of(mask, order, 0.2) is None


def test_the_share_is_on_a_line_within_limits() -> None:
    assert share_left(3.0, 2.0) == 0.6
    assert share_left(0.0, 2.0) == LEAST_PART
    assert share_left(9.0, 0.1) == MOST_PART


def test_early_layers_leave_a_part_of_the_bound_on_the_guard(trained: Trained) -> None:
    """After the first of four layers three eighths are left: what would be allowed at the end is refused."""
    assert [share_held_back(decided, 4) for decided in (1, 2, 3, 4)] == [0.375, 0.25, 0.125, 0.0]
    lost = BOUND * (1 - 0.375)
    for drop, looks in ((lost, 1), (lost + 0.01, 2)):
        search = Bold(trained, drops=[drop, 0.0, 0.0])
        search.contract.held_back = BOUND * share_held_back(1, 4)
        assert search.commit_bold().num_guard_looks == looks


def test_one_answer_may_be_lost_on_the_guard_whatever_is_left_of_the_bound(trained: Trained) -> None:
    one = 1.0  # of the hundred images that the drops are of
    for bound, drop, allowed in ((1.5, one, True), (1.5, 2 * one, False), (0.9, one, False), (3.0, 2 * one, False)):
        search = Bold(trained, drops=[drop])
        assert (search.guard.look(BASE, bound, held_back=0.5 * bound).excess <= 0) is allowed
