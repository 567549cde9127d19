"""Uncertain quantities: their ranges, and how they become a trial's work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raprune.plugins.methods.base import Asked
from raprune.preflight.checks import Facts, facts_key, load_and_inspect
from raprune.preflight.estimate.clock import Drift
from raprune.preflight.estimate.draws import KNOWN, PRUNED, SEEN_WHOLE, draws, middle, share_when_hopeless
from raprune.preflight.estimate.own import Own
from raprune.preflight.estimate.reduced import Steps
from raprune.preflight.estimate.timing import Costs, MaskCost, spread
from raprune.preflight.estimate.trials import Shape, results_bytes, work_of
from raprune.study import TrialSpec
from tests.tiny import write_study

LAYERS = ("a", "b", "c")
OWN = Own(1.0, 0.5, 0.25, 2.0, 100.0, 1000)


def shape(**changes: object) -> Shape:
    costs = Costs(
        Steps(10, 0, 20, 0), 4, masks={"a": MaskCost(1.0, 1.0, 8.0), "c": MaskCost(0.0, 0.5, 0.0)},
        pruned={LAYERS: {"b": 0.5, "c": 0.5}}, step_s=0.1, pruned_step=0.5, finetune_s=1.0, val_s=3.0, test_s=4.0,
    )  # fmt: skip
    asked = {layer: Asked(5, (10, 10), (4, 4)) for layer in LAYERS}
    whole = Shape(costs, LAYERS, LAYERS, asked, {"a": OWN}, 7.0, 0, 1.0, False, False)
    return replace(whole, **changes)  # type: ignore[arg-type]


def only(**settled: float) -> object:
    """A draw in which nothing is pruned, known before, or left off early."""
    return replace(middle(), **({"seen_whole": 1.0, "known": 0.0, "pruned": 0.0, "tries": 1.0} | settled))  # type: ignore[arg-type]


def test_a_trial_by_hand() -> None:
    """Layers a, b and c: a candidate takes 5, 3.5 and 2 seconds."""
    work = work_of(shape(), only())  # type: ignore[arg-type]
    assert work.update_s == pytest.approx(50 * (5 + 3.5 + 2))
    assert work.search_s == pytest.approx(4 * (5 + 3.5 + 2))
    commits = 3 * (1.0 + 20 * 0.1 + 3.0)
    assert work.commit_s == pytest.approx(8 + 4 + 0 + commits + 4.0)
    assert work.own_s == pytest.approx(7.0 + 3 * (1 + 10 * 0.5 + 4 * 0.25 + 2))
    assert work.num_candidates == 3 * 54
    assert results_bytes(shape(), work, 10_000) == pytest.approx(3 * 54 * 100 + 3 * 1000 + 2 * 10_000)


def test_pruning_on_the_way_makes_candidates_cheaper() -> None:
    """Half of the filters pruned at the end: as timed, for all layers but the first."""
    work = work_of(shape(), only(pruned=0.5))  # type: ignore[arg-type]
    assert work.update_s == pytest.approx(50 * (5 + 0.5 * (3.5 + 2)))
    quarter = work_of(shape(), only(pruned=0.75))  # type: ignore[arg-type]
    assert quarter.update_s == pytest.approx(50 * (5 + 0.25 * (3.5 + 2)))


def test_early_exit_and_memo() -> None:
    half = work_of(shape(hopeless=0.25), only(seen_whole=0.0))  # type: ignore[arg-type]
    assert half.update_s == pytest.approx(50 * ((1 + 1) + (0.5 + 0.75) + 0.5))
    known = work_of(shape(), only(known=0.2))  # type: ignore[arg-type]
    assert known.update_s == pytest.approx(0.8 * 50 * 10.5)
    assert known.num_candidates == 3 * 54


def test_a_matched_trial_asks_for_nothing() -> None:
    work = work_of(shape(asked={}), only())  # type: ignore[arg-type]
    assert (work.update_s, work.search_s, work.num_candidates, work.masks_per_update) == (0, 0, 0, 1)
    assert work.commit_s == pytest.approx(3 * (1.0 + 2.0 + 2 * 3.0) + 4.0)


def test_the_machine_is_less_certain_later_than_while_timing() -> None:
    for threads, wider in ((1, True), (None, False)):
        drift = Drift(threads)
        for _ in range(3):
            drift.sample("work", lambda: sum(range(1000)))
        assert (drift.sigma_later > max(drift.sigma, 0.149)) == wider
        assert drift.sigma_later >= drift.sigma


def test_draws_stay_in_their_ranges_and_are_always_the_same() -> None:
    found = list(draws(0.1))
    assert [d.speed for d in found] == [d.speed for d in draws(0.1)]
    for name, (low, high) in {"seen_whole": SEEN_WHOLE, "known": KNOWN, "pruned": PRUNED, "updates": (0, 1)}.items():
        values = [getattr(draw, name) for draw in found]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high >= max(values) > high - 0.1 * (high - low)
    assert np.std(np.log([d.speed for d in found])) == pytest.approx(0.1, rel=0.15)
    assert {d.speed for d in draws(0.0)} == {1.0}


def test_layers_to_time_are_spread_from_end_to_end() -> None:
    assert spread("abcdefghi", 3) == ["a", "i", "e"]
    assert sorted(spread("abcdefghi", 5)) == ["a", "c", "e", "g", "i"]
    assert spread("ab", 5) == ["a", "b"]
    assert spread("a", 5) == ["a"]


@pytest.fixture
def trial(tmp_path: Path) -> tuple[TrialSpec, Facts]:
    plan, facts = load_and_inspect(write_study(tmp_path), ["sweep.drop_bound=[2.0]"])
    return plan.trials[0], facts[facts_key(plan.trials[0])]


def test_when_a_hopeless_candidate_is_given_up(trial: tuple[TrialSpec, Facts]) -> None:
    """10 points of errors and twice the bound must be wrong; nine of ten images are."""
    spec, facts = trial
    assert share_when_hopeless(spec, facts, 10) == pytest.approx((0.10 + 0.04) / 0.9)
    assert share_when_hopeless(spec, replace(facts, checkpoint_score=80.0), 10) == pytest.approx((0.20 + 0.04) / 0.9)
    without_floor = spec.model_copy(update={"reward": spec.reward.model_copy(update={"settings": {"floor": "none"}})})
    assert share_when_hopeless(without_floor, facts, 10) == 1.0
    assert share_when_hopeless(spec, replace(facts, score_unit="dB"), 10) == 1.0
