"""The time left, from the layers that have been decided."""

from __future__ import annotations

import json

import pytest

from benchmarks.time_left import DATA, replay, share_within
from raprune.console.trials import TrialProgress, time_left


@pytest.mark.parametrize("name", ["quickstart", "single_layers"])
def test_recorded_studies_end_when_they_were_expected_to(name: str) -> None:
    moments = replay(json.loads((DATA / f"time_left_{name}.json").read_text()))
    assert len(moments) > 100
    assert share_within(moments) >= 0.95
    total = moments[-1].at_s + moments[-1].true_s
    assert all(0.5 <= (moment.at_s + moment.left_s) / total <= 2 for moment in moments)


def half_done() -> TrialProgress:
    """Five of ten layers in 50 seconds: 4 of each 10 for candidates, 6 for the commit."""
    trial = TrialProgress("searched", 200, 10, layers_done=5, searched_s=20.0, committed_s=30.0)
    trial.status, trial.started = "running", 0.0
    return trial


def test_nothing_is_said_before_anything_is_known() -> None:
    assert time_left([TrialProgress("a", 100, 2)], since=0.0, now=100.0) is None
    begun = TrialProgress("a", 100, 2, status="running", started=0.0)
    assert time_left([begun], since=0.0, now=100.0) is None
    begun.layer_candidates = 50
    assert time_left([begun], since=0.0, now=100.0) is None  # no layer was committed
    begun.layers_done, begun.layer_candidates, begun.searched_s, begun.committed_s = 1, 0, 60.0, 40.0
    assert time_left([begun], since=0.0, now=100.0) == pytest.approx(2 * 100.0)


def test_nothing_is_said_in_the_first_tenth() -> None:
    trial = TrialProgress(
        "a", 2000, 20, layers_done=1, searched_s=60.0, committed_s=40.0, status="running", started=0.0
    )
    assert time_left([trial], since=0.0, now=100.0) is None  # 100 of 2,100 seconds
    trial.layers_done, trial.searched_s, trial.committed_s = 3, 180.0, 120.0
    assert time_left([trial], since=0.0, now=300.0) == pytest.approx(18 * 100.0)
    resumed = TrialProgress("b", 2000, 20, layers_done=9, first_step=9, layer_candidates=99, status="running")
    resumed.started = 0.0
    assert time_left([resumed], since=0.0, now=300.0) is None


def test_matched_trials_cost_their_commits_alone() -> None:
    searched, matched = half_done(), TrialProgress("matched", 0, 10, matched=True)
    alone = time_left([searched], since=0.0, now=50.0)
    both = time_left([searched, matched], since=0.0, now=50.0)
    assert alone == pytest.approx(6 * 10.0)  # five layers, and what follows the last one
    assert both == pytest.approx(6 * 10.0 + 11 * 6.0)


def test_trials_are_worked_off_together_and_none_faster_than_alone() -> None:
    two, waiting = [half_done(), half_done()], TrialProgress("waiting", 200, 10)
    assert time_left(two, since=0.0, now=50.0) == pytest.approx(60.0)
    assert time_left([*two, waiting], since=0.0, now=50.0) == pytest.approx((60 + 60 + 110) / 2)
    ended = [TrialProgress("ended", 200, 10, status="completed", ended=50.0), half_done()]
    assert time_left(ended, since=0.0, now=50.0) == pytest.approx(60.0)


def test_layers_of_an_earlier_run_are_not_taken_for_fast_ones() -> None:
    resumed = half_done()
    resumed.first_step, resumed.searched_s, resumed.committed_s = 4, 4.0, 6.0
    assert time_left([resumed], since=0.0, now=10.0) == pytest.approx(60.0)


def test_joint_passes_take_time_after_the_layers() -> None:
    """Ten seconds a layer, and twice as many a pass."""
    trial = TrialProgress("a", 0, 10, layers_done=10, passes=3, committed_s=100.0, status="running", started=0.0)
    assert time_left([trial], since=0.0, now=100.0) == pytest.approx((3 * 2 + 1) * 10.0)
    trial.passes_done = 2
    assert time_left([trial], since=0.0, now=140.0) == pytest.approx((2 + 1) * 10.0)
    trial.first_step, trial.layers_done, trial.first_pass = 8, 10, 2  # the passes were of an earlier run
    trial.committed_s = 20.0
    assert time_left([trial], since=0.0, now=20.0) == pytest.approx((2 + 1) * 10.0)
    matched = TrialProgress("b", 0, 10, matched=True, passes=3)
    assert matched.layers_left == 10 + 3 + 1
