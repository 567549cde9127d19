"""What shares a launch follows from the request alone: not from what is known, who scores, or when."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.evaluating import MASKS_A_LAUNCH, EvaluatedMask, shares_launches
from raprune.evaluators.in_process import InProcess
from raprune.evaluators.ray_pool import RayPool
from raprune.memo import Memo, Memoised
from raprune.scoring import Scored, Tally
from raprune.state import State
from raprune.study import load_study
from tests.core.test_memo import CONDITIONS
from tests.tiny import Trained, engine_of, write_study

LAYER = "features.14"
STATE = State.baseline("baseline")


def masks(number: int) -> list[Tensor]:
    """The first of some that all differ."""
    found = torch.rand(64, 16, generator=torch.Generator().manual_seed(3)) < 0.7
    found[:, 0] = True
    return list({bytes(mask.tolist()): mask for mask in found}.values())[:number]


class Noting:
    """Stands before an engine; notes which masks it is given at once."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.launches: list[tuple[bytes, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def evaluate_many(
        self, state: State, layer: str, masks: Sequence[Tensor], lowest: float | None, starts: Sequence[Tally | None]
    ) -> list[Scored]:
        assert not any(starts)
        self.launches.append(tuple(bytes(mask.tolist()) for mask in masks))
        found: list[Scored] = self.engine.evaluate_many(state, layer, masks, lowest, starts)
        return found


def in_process(trained: Trained) -> tuple[InProcess, Noting]:
    evaluator = object.__new__(InProcess)
    noting = Noting(engine_of(trained.network, trained.splits, stacked=True))
    evaluator.engine = noting
    return evaluator, noting


def test_masks_that_are_known_do_not_change_a_launch(trained: Trained, tmp_path: Path) -> None:
    """Whatever another trial has scored before, a request is scored in the same launches, to the same bits."""
    asked = [*masks(2 * MASKS_A_LAUNCH + 3), *masks(2)]  # some twice
    rest, alone = in_process(trained)
    plain = Memoised(rest, Memo(tmp_path / "none"), CONDITIONS, by_launch=True)
    scores = [e.scored.score for e in plain.evaluate(STATE, LAYER, asked, None)]
    assert [len(launch) for launch in alone.launches] == [MASKS_A_LAUNCH, MASKS_A_LAUNCH, 3]
    for known in ([0], [3, 9, 17], list(range(0, 19, 2))):
        evaluator, noting = in_process(trained)
        ours = Memoised(evaluator, Memo(tmp_path / str(len(known))), CONDITIONS, by_launch=True)
        ours.evaluate(STATE, LAYER, [asked[place] for place in known], 99.0)  # another trial's request and bound
        noting.launches.clear()
        found = ours.evaluate(STATE, LAYER, asked, None)
        assert noting.launches == alone.launches
        assert [e.scored.score for e in found] == scores
        again = ours.evaluate(STATE, LAYER, asked, None)
        assert noting.launches == alone.launches
        assert all(e.from_memo for e in again)
        assert [e.scored.score for e in again] == scores


def test_a_launch_that_is_known_is_not_repeated(trained: Trained, tmp_path: Path) -> None:
    """A request that begins as another one did goes on where that ended."""
    evaluator, noting = in_process(trained)
    ours = Memoised(evaluator, Memo(tmp_path), CONDITIONS, by_launch=True)
    ours.evaluate(STATE, LAYER, masks(MASKS_A_LAUNCH), None)
    noting.launches.clear()
    ours.evaluate(STATE, LAYER, masks(MASKS_A_LAUNCH + 2), None)
    assert [len(launch) for launch in noting.launches] == [2]


class Pool:
    """Notes the calls in which masks go to a pool."""

    def __init__(self, num_actors: int) -> None:
        self.actors = [None] * num_actors
        self.calls: list[list[int]] = []
        self.together: set[bool] = set()

    def run(self, calls: Sequence[Any], submit: Any, what: str) -> list[EvaluatedMask]:
        self.calls.append([len(call.items) for call in calls])
        self.together |= {call.together for call in calls}
        places = itertools.chain.from_iterable(call.indices for call in calls)
        tally = Tally([1], [1], 1, 50.0, True)
        return [EvaluatedMask(Scored(50.0, 1, 1e-4, tally), "x") for _ in places]


@pytest.mark.parametrize("num_actors", [1, 3, 16])
def test_calls_depend_on_neither_the_pool_nor_the_clock(num_actors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = object.__new__(RayPool)
    dispatcher: Any = Pool(num_actors)
    pool.dispatcher, pool._by_launch, pool._mask_s, pool.workload = dispatcher, True, 1.0, None  # type: ignore[assignment]
    monkeypatch.setattr(RayPool, "_ref", lambda self, state: [])
    for _ in range(2):  # the second time it knows how long a mask takes
        pool.evaluate(STATE, LAYER, masks(2 * MASKS_A_LAUNCH + 3), None)
    assert dispatcher.calls == [[MASKS_A_LAUNCH, MASKS_A_LAUNCH, 3]] * 2
    assert dispatcher.together == {True}


def test_what_shares_launches(tmp_path: Path) -> None:
    (trial, *_) = load_study(write_study(tmp_path)).trials
    (tuned, *_) = load_study(write_study(tmp_path), ["finetune.before_reward={steps: 2}"]).trials
    assert shares_launches(trial, "cuda")
    assert not shares_launches(trial, "cpu")
    assert not shares_launches(tuned, "cuda")
