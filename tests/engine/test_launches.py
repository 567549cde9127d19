"""Masks that share launches: a call to the pool holds one launch, so neither the pool nor the clock matters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.engine.launches import MASKS_A_LAUNCH, masks_a_launch
from raprune.evaluators.base import EvaluatedMask
from raprune.evaluators.ray_pool import RayPool
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.study import load_study
from tests.tiny import write_study

LAYER = "features.14"
STATE = State.baseline("baseline")


def masks(number: int) -> list[KeepMask]:
    """The first of some that all differ."""
    found = torch.rand(64, 16, generator=torch.Generator().manual_seed(3)) < 0.7
    found[:, 0] = True
    return list(dict.fromkeys(map(KeepMask.of, found)))[:number]


class Pool:
    """Notes the calls in which masks go to a pool."""

    def __init__(self, num_actors: int) -> None:
        self.actors = [None] * num_actors
        self.calls: list[list[int]] = []

    def run(self, calls: Sequence[Any], submit: Any, what: str) -> list[EvaluatedMask]:
        self.calls.append([len(call.items) for call in calls])
        places = itertools.chain.from_iterable(call.indices for call in calls)
        tally = Tally([1], [1], 1, 50.0, True)
        return [EvaluatedMask(Scored(50.0, 1, 1e-4, tally), "x") for _ in places]


@pytest.mark.parametrize("size", [MASKS_A_LAUNCH, 5])
@pytest.mark.parametrize("num_actors", [1, 3, 16])
def test_calls_depend_on_neither_the_pool_nor_the_clock(
    num_actors: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = object.__new__(RayPool)
    dispatcher: Any = Pool(num_actors)
    pool.dispatcher, pool._a_launch, pool._mask_s, pool.workload = dispatcher, size, 1.0, None  # type: ignore[assignment]
    monkeypatch.setattr(RayPool, "_ref", lambda self, state: [])
    for _ in range(2):  # the second time it knows how long a mask takes
        pool.evaluate(STATE, LAYER, masks(2 * size + 3), None)
    assert dispatcher.calls == [[size, size, 3]] * 2


def test_what_shares_launches(tmp_path: Path) -> None:
    (trial, *_) = load_study(write_study(tmp_path)).trials
    (tuned, *_) = load_study(write_study(tmp_path), ["finetune.before_reward={steps: 2}"]).trials
    (together, *_) = load_study(
        write_study(tmp_path), ["finetune.before_reward={steps: 2}", "fidelity.together=5"]
    ).trials
    assert masks_a_launch(trial, "cuda") == MASKS_A_LAUNCH
    assert masks_a_launch(trial, "cpu") == masks_a_launch(tuned, "cuda") == 1
    assert masks_a_launch(together, "cuda") == masks_a_launch(together, "cpu") == 5
    assert len({trial.trial_id, tuned.trial_id, together.trial_id}) == 3
