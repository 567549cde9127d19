"""A study's trackers get what happens, in order; whatever they do, the study goes on and nothing secret is printed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from raprune.launch import run_study, tracker_line, tracking
from raprune.launch.tracker_line import without_secrets
from raprune.launch.tracking import Tracking, tracked
from raprune.results import read_study
from tests.launch.runs import Watch, begin
from tests.launch.told import CALLS, Told, plan_of, register
from tests.waiting import PATIENCE_S


class Raising(Told):
    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        raise ConnectionError("no answer from https://me:hunter2@host/ with abcd1234")


class Hanging(Told):
    def begin(self) -> None:
        threading.Event().wait()


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Told, Raising, Hanging)


class Clock:
    """Puts the time forward when all but the tracker that hangs have ended."""

    def monotonic(self) -> float:
        others = [thread for thread in threading.enumerate() if thread.name in ("tracker-told", "tracker-raising")]
        return time.monotonic() + (0 if others else 2 * PATIENCE_S)


def test_a_study_is_told_from_start_to_end(
    trackers: None, small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a tracker that raises and one that hangs; the rows say the same as what was told."""
    monkeypatch.setenv("SOME_API_KEY", "abcd1234")
    monkeypatch.setattr(tracker_line, "CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(tracking, "time", Clock())
    begin(small_study[1], tmp_path)
    plan, watch = plan_of(tmp_path, "told", "raising", "hanging"), Watch()
    assert run_study(plan, tmp_path / "out", watch, num_evaluators=0).exit_code == 0
    frame = read_study(tmp_path / "out").trials.set_index("trial_id")
    ids = [trial.trial_id for trial in plan.trials]
    assert CALLS.count(("begin", "small")) == 2  # of two that answer, one raises
    joint = read_study(tmp_path / "out").joint["trial_id"]
    steps = {name: range(1, 3 + (joint == name).sum()) for name in ids}
    assert [call[1:3] for call in CALLS if call[0] == "layer"] == [(name, step) for name in ids for step in steps[name]]
    for name in ids:
        assert CALLS.count(("trial", name, plan.axes[name]["method"])) == 2
        assert CALLS.count(("ended", name, "completed", frame.loc[name, "macs"])) == 2
        last = [call for call in CALLS if call[:2] == ("layer", name)][-1]
        assert last[3:] == (frame.loc[name, "pruning_ratio"], frame.loc[name, "macs"])
    assert CALLS[-1] == ("close", "completed")
    assert sorted(watch.notes) == [
        f"tracker hanging did not take everything within {PATIENCE_S:.0f} s of the study's end; the study goes on, and "
        "this is not told again",
        "tracker raising cannot be written: ConnectionError: no answer from https://***@host/ with ***; the study goes "
        "on, and this is not told again",
    ]


def test_who_watches_sees_what_it_saw_before(trackers: None, tmp_path: Path) -> None:
    plan, watch = plan_of(tmp_path, "told"), Watch()
    with tracked(watch, plan, tmp_path) as both:
        assert isinstance(both, Tracking)
        both.planned(plan)
        both.phase("preparing")
        both.evaluators("two")
        both.note("a note")
        both.told(plan.trials[0].trial_id, {"new_candidates": 3})
        both.ended(plan.trials[0].trial_id, "failed", tmp_path)
        both.ended(plan.trials[0].trial_id, "failed", tmp_path)
    assert (watch.plan, watch.text, watch.pool, watch.notes) == (plan, "preparing", "two", ["a note"])
    name = plan.trials[0].trial_id
    assert [
        ("begin", "small"), ("trial", name, "agent"), ("ended", name, "failed", None), ("close", "failed"),
    ] == CALLS  # fmt: skip


def test_a_study_without_trackers_is_not_touched(tmp_path: Path) -> None:
    watch, before = Watch(), threading.active_count()
    with tracked(watch, plan_of(tmp_path), tmp_path) as same:
        assert same is watch
        assert threading.active_count() == before


def test_a_slow_tracker_holds_nothing_up(trackers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(Told, "layer", lambda *_: answers.wait(PATIENCE_S))
    plan = plan_of(tmp_path, "told")
    with tracked(Watch(), plan, tmp_path) as both:
        for step in range(5):
            news = {"committed_pruning_ratio": 0.5, "pruning_ratio": 0.5, "macs": 1, "commits": step}
            both.told(plan.trials[0].trial_id, news)
        assert not answers.is_set()  # the study went on before the first answer
        answers.set()


def test_secrets_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("KEY_TOO_SHORT", "a")
    assert without_secrets("a s3cret at mysql://me:pw@host/db") == "a *** at mysql://***@host/db"
