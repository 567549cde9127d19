"""A study with a guard: what its rows say, and that they are the same in this process and on Ray."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from raprune.engine.inputs import Inputs
from raprune.engine.opening import open_engine
from raprune.engine.workload import Baseline, Workload
from raprune.network.state import State
from raprune.results import read_study
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from raprune.trial.guard import Guard, Seen
from tests.launch.runs import assert_same_rows, run_tiny

OVERRIDES = (
    "guard=0.3",
    "sweep.drop_bound=[8.0]",
    "layers=[features.10, features.40]",
    "sweep.method=[{name: agent, min_updates: 2, max_updates: 2}, {name: random, match: agent}]",
    "finetune.at_end={steps: 2}",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome, out = run_tiny(tmp_path_factory.mktemp("guarded"), 0, *OVERRIDES)
    assert outcome.exit_code == 0, outcome.summary()
    return out


def test_the_bound_holds_on_the_guard_and_the_rows_say_so(guarded: Path) -> None:
    tables = read_study(guarded)
    trials = tables.trials.set_index("trial_id")
    assert (trials["guard"] == 0.3).all()
    assert (trials["num_val_images"] == 140).all()
    assert (trials["num_guard_images"] == 60).all()
    expected = trials["baseline_guard_score"] - trials["guard_score"]
    pd.testing.assert_series_equal(trials["guard_score_drop"], expected, check_names=False)
    assert (trials["score_drop_limit"] > trials["guard_score_drop"]).all()
    (searched,) = trials[trials["matched_trial_id"].isna()].index
    assert trials.loc[searched, "guard_score_drop"] <= 8.0
    layers = tables.layers[tables.layers["trial_id"] == searched]
    committed = layers["num_kept"] < layers["num_filters"]
    assert committed.any()
    assert (layers.loc[committed, "guard_score_drop"] <= 8.0 + 1e-9).all()
    assert layers["guard_score"].notna().tolist() == committed.tolist()
    assert (layers["num_guard_looks"] >= committed).all()
    assert ((layers["guard_s"] > 0) == (layers["num_guard_looks"] > 0)).all()
    assert (layers["finetune_s"] >= 0).all()
    assert trials.loc[searched, "guard_s"] > layers["guard_s"].sum()  # the final fine-tune is looked at, too
    assert (trials["guard_s"] + trials["finetune_s"] < trials["wall_time_s"]).all()
    joint = tables.joint[tables.joint["trial_id"] == searched]
    looks = layers["num_guard_looks"].sum() + joint["num_guard_looks"].sum() + 1  # of the final fine-tune
    assert trials.loc[searched, "num_guard_looks"] == looks
    assert (layers["drop_margin"] > 0).all()
    assert len(joint) > 0
    matched = tables.layers[tables.layers["trial_id"] != searched]
    assert matched["drop_margin"].isna().all()


@pytest.mark.parametrize(
    ("settings", "first"),
    [("credit=4.0", 9.0), ("credit=0", 12.0), ("warranty=0.9", 12.0)],
    ids=lambda value: str(value),
)
def test_the_first_layer_leaves_a_part_of_the_bound_on_the_guard_if_a_fine_tune_may_win_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, first: float
) -> None:
    """Two layers under a bound of 12 points: nine after the first one, and all of it after the last."""
    allowed, look = [], Guard.look

    def noted(self: Guard, state: State, drop_bound: float, held_back: float = 0.0) -> Seen:
        allowed.append(drop_bound - held_back)
        return look(self, state, drop_bound, held_back)

    monkeypatch.setattr(Guard, "look", noted)
    credit = () if settings.startswith("credit") else ("credit=4.0",)
    run_tiny(tmp_path, 0, *OVERRIDES, "sweep.drop_bound=[12.0]", "sweep.method=[magnitude]", settings, *credit)
    assert allowed[0] == first
    assert {*allowed} == {first, 12.0}


def test_candidates_leave_the_margin(guarded: Path) -> None:
    """Every reward follows from the drop on val, the margin and the ratio."""
    tables = read_study(guarded)
    frame = tables.candidates.merge(tables.layers[["trial_id", "layer", "drop_margin"]], on=["trial_id", "layer"])
    frame = frame[frame["score"].notna()].merge(tables.trials[["trial_id", "baseline_val_score"]], on="trial_id")
    frame["share"] = frame["keep_mask"].map(sum) / frame["keep_mask"].map(len)
    frame = frame[frame["share"] < 1]
    psi = (8.0 - (frame["baseline_val_score"] - frame["score"] + frame["drop_margin"])) / 8.0
    assert len(frame) > 3
    assert (frame["reward"] / -frame["share"].map(math.log)).tolist() == pytest.approx(psi.tolist())


def test_the_guard_is_what_its_score_says(guarded: Path) -> None:
    """The baseline's score on the guard, measured again by an engine of its own."""
    plan = load_study(guarded.parent / "tiny.yaml", OVERRIDES)
    trial = plan.trials[0]
    folder = guarded / "baselines" / trial.baseline_key
    assert Baseline.read(folder) is not None
    with Inputs() as inputs:
        engine = open_engine(Workload.of(trial, folder), "cpu", EvaluatorsSpec(), inputs=inputs)
        assert len(engine.splits.split("guard")) == 60
        expected = engine.measure(State.baseline(trial.baseline_key), "guard")
    assert set(read_study(guarded).trials["baseline_guard_score"].round(9)) == {round(expected, 9)}


@pytest.mark.slow
def test_rows_are_the_same_on_ray(guarded: Path, tmp_path: Path, ray_cluster: None) -> None:
    outcome, out = run_tiny(tmp_path, 1, *OVERRIDES)
    assert outcome.exit_code == 0, outcome.summary()
    assert_same_rows(guarded, out)
