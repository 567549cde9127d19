"""What is uncertain: its ranges, and how it becomes a trial's work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raprune.preflight.checks import Facts, facts_key, load_and_inspect
from raprune.preflight.estimate.clock import Drift
from raprune.preflight.estimate.course import RANGES, Draw, Shape, between, draws, middle, results_bytes, work_of
from raprune.preflight.estimate.study import low_rank_work, share_when_hopeless
from raprune.preflight.estimate.timing import Costs, MaskCost, Steps, spread
from raprune.study import TrialSpec
from raprune.study.postprocess import LowRankSpec, PostprocessSpec
from tests.tiny import write_study

LAYERS = ("a", "b", "c")
OWN = (1.0 + 2.0, 0.5, 0.25, 100.0, 1000)


def columns(*row: float) -> np.ndarray:
    """The same for each of the layers."""
    return np.array([row] * len(LAYERS), float).T


def shape(**changes: Any) -> Shape:
    costs = Costs(
        Steps(10, 0, 20, 0), 4, step_s=0.1, pruned_step=0.5, finetune_s=1.0, val_s=3.0, test_s=4.0, model_bytes=10_000
    )
    masks = between(LAYERS, LAYERS, {"a": MaskCost(1.0, 1.0, 8.0), "c": MaskCost(0.0, 0.5, 0.0)})
    whole = Shape(costs, masks, np.array([1.0, 0.5, 0.5]), columns(5, 10, 10, 4, 4), columns(*OWN), 7.0)
    return replace(whole, **changes)


def only(**settled: float) -> Draw:
    """A draw in which nothing is pruned, known before, or left off early."""
    return replace(middle(), **({"seen_whole": 1.0, "known": 0.0, "pruned": 0.0, "tries": 1.0} | settled))  # type: ignore[arg-type]


def test_joint_passes_are_looked_at_and_fine_tune_the_baseline_as_well() -> None:
    """A matched trial has both passes: each a fine-tune of 1 + 20 * 0.1 seconds, a score and a look at the guard."""
    costs = replace(shape().costs, look_s=0.5)
    for pays, more_s in ((False, 2 * (3.0 + 3.0 + 0.5)), (True, 2 * (3.0 + 3.0 + 0.5) + 2 * 3.0)):
        layers, passes = (
            work_of(shape(costs=costs, matched=True, joint=joint, pays_finetuned=pays), only())
            for joint in ((0, 0), (2, 10))
        )
        assert passes.commit_s - layers.commit_s == pytest.approx(more_s)


def test_a_trial_by_hand() -> None:
    """Layers a, b and c: a candidate takes 5, 3.5 and 2 seconds."""
    work = work_of(shape(), only())
    assert work.update_s == pytest.approx(50 * (5 + 3.5 + 2))
    assert work.search_s == pytest.approx(4 * (5 + 3.5 + 2))
    commits = 3 * (1.0 + 20 * 0.1 + 3.0)
    assert work.commit_s == pytest.approx(8 + 4 + 0 + commits + 4.0)
    assert work.own_s == pytest.approx(7.0 + 3 * (1 + 10 * 0.5 + 4 * 0.25 + 2))
    assert work.num_candidates == 3 * 54
    assert results_bytes(shape(), work) == pytest.approx(3 * 54 * 100 + 3 * 1000 + 2 * 10_000)


def test_pruning_on_the_way_makes_candidates_cheaper() -> None:
    """Half of the filters pruned at the end: as timed, for all layers but the first."""
    work = work_of(shape(), only(pruned=0.5))
    assert work.update_s == pytest.approx(50 * (5 + 0.5 * (3.5 + 2)))
    quarter = work_of(shape(), only(pruned=0.75))
    assert quarter.update_s == pytest.approx(50 * (5 + 0.25 * (3.5 + 2)))


def test_early_exit_and_memo() -> None:
    half = work_of(shape(hopeless=0.25), only(seen_whole=0.0))
    assert half.update_s == pytest.approx(50 * ((1 + 1) + (0.5 + 0.75) + 0.5))
    known = work_of(shape(), only(known=0.2))
    assert known.update_s == pytest.approx(0.8 * 50 * 10.5)
    assert known.num_candidates == 3 * 54


def test_a_matched_trial_asks_for_nothing() -> None:
    work = work_of(shape(asked=columns(1, 0, 0, 0, 0), matched=True), only())
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
    for name, (low, high) in RANGES.items():
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


def test_what_low_rank_tries(trial: tuple[TrialSpec, Facts]) -> None:
    """The classifier for certain, convolutions perhaps; a rank that is not named is bisected."""
    spec, facts = trial

    def work(**settings: Any) -> tuple[float, float, float, bool] | None:
        step = LowRankSpec(**settings)
        return low_rank_work(spec.model_copy(update={"postprocess": PostprocessSpec(low_rank=step)}), facts)

    assert low_rank_work(spec, facts) is None
    assert work(rank=1, layers=[next(iter(facts.full_ranks))], finetune=False) == (1, 1, 1.0, False)
    fewest, most, scores, _ = work() or (0, 0, 0, False)
    assert 0 < fewest < most == len(facts.full_ranks)
    assert scores > 2
    assert (work(layers="all") or ())[:2] == (most, most)
