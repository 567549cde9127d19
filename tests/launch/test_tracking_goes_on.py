"""Trackers of a study that goes on, of servers that answer later, and of trials that end on other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.launch.tracker_line import without_secrets
from raprune.launch.tracking import tracked
from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import Settings
from raprune.results import TrialStore, read_study
from raprune.results.sound import MEASURED
from raprune.trial.rows import unfinished_row
from tests.launch.runs import Watch, begin
from tests.launch.told import CALLS, Told, plan_of, register
from tests.system.store.fakes import machine

JOINT = "postprocess={joint: {candidates: 6, passes: 1, proposals: 2}}"
COMMIT = {"committed_pruning_ratio": 0.5, "pruning_ratio": 0.5, "macs": 1, "commits": 1}


class Unmade(Told):
    def __init__(self, settings: Settings, *, study: TrackedStudy) -> None:
        raise RuntimeError("could not determine the home directory")


class Leaving(Told):
    def trial(self, trial: TrackedTrial) -> None:
        raise SystemExit("no licence")


class Late(Told):
    """Its server answers the third time that the study, and the second time that a trial is opened."""

    def begin(self) -> None:
        self.refusals = getattr(self, "refusals", 0) + 1
        if self.refusals < 3:
            raise ConnectionError("no answer")
        super().begin()

    def trial(self, trial: TrackedTrial) -> None:
        self.refusals += 1
        if self.refusals < 5:
            raise ConnectionError("no answer")
        super().trial(trial)


@pytest.fixture(autouse=True)
def trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Told, Unmade, Leaving, Late)


def test_a_joint_pass_is_a_step_of_its_own(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    begin(small_study[1], tmp_path)
    plan = plan_of(tmp_path, "told", changes=(JOINT, "sweep={}", "method=magnitude"))
    assert run_study(plan, tmp_path / "out", Watch(), num_evaluators=0).exit_code == 0
    row = read_study(tmp_path / "out").trials.iloc[0]
    layers = [call for call in CALLS if call[0] == "layer"]
    assert [call[2] for call in layers] == [1, 2, 3]
    assert layers[-1][3:] == (row["pruning_ratio"], row["macs"])


def test_a_study_that_goes_on_ends_as_all_of_its_trials_did(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    """Trials that ended in an earlier run count, and those that a scheduler stopped are not left over."""
    plan = plan_of(tmp_path, "told")
    first, second = plan.trials

    def close(status: str, stopped_by: str | None) -> object:
        row = unfinished_row(first, "default", status, None)
        row |= dict.fromkeys(MEASURED, 1) | {"stopped_by": stopped_by}
        TrialStore(tmp_path / "out", "small", first.trial_id).write_trial(row)
        TrialStore(tmp_path / "out", "small", second.trial_id).write_trial(row | {"status": "completed"})
        with tracked(Watch(), plan, tmp_path / "out") as watch:
            watch.ended(second.trial_id, "completed", tmp_path)
        return CALLS[-1][1]

    assert close("completed", None) == "completed"
    assert close("stopped", "dominated") == "completed"
    assert close("stopped", "budget") == "stopped"
    assert close("failed", None) == "failed"


def test_whatever_a_tracker_raises_the_study_goes_on(tmp_path: Path) -> None:
    plan, watch = plan_of(tmp_path, "unmade", "leaving", "told"), Watch()
    with tracked(watch, plan, tmp_path) as both:
        both.told(plan.trials[0].trial_id, dict(COMMIT))
    assert [call[0] for call in CALLS].count("layer") == 1  # the others took nothing
    assert sorted(note.partition(":")[0] for note in watch.notes) == [
        "tracker leaving cannot be written", "tracker unmade cannot be written",
    ]  # fmt: skip


def test_a_server_that_answers_later_learns_of_the_study(tmp_path: Path) -> None:
    plan, watch = plan_of(tmp_path, "late"), Watch()
    name = plan.trials[0].trial_id
    with tracked(watch, plan, tmp_path) as both:
        both.told(name, {"new_candidates": 1})
        for step in (1, 2):
            both.told(name, COMMIT | {"commits": step})
    assert [call[:3] for call in CALLS] == [
        ("begin", "small"), ("trial", name, "agent"), ("layer", name, 2), ("close", "stopped"),
    ]  # fmt: skip
    assert len(watch.notes) == 1


def test_the_numbers_of_a_trial_that_ended_on_another_machine(tmp_path: Path) -> None:
    """Its row is on the store, and not in this machine's copy yet."""
    here, there = machine("here", tmp_path), machine("there", tmp_path)
    plan = plan_of(tmp_path, "told")
    trial = plan.trials[0]
    row = unfinished_row(trial, "default", "completed", None) | dict.fromkeys(MEASURED, 1)
    store = TrialStore(there.root, "small", trial.trial_id)
    store.write_trial(row | {"macs": 77})
    there.send("")
    with tracked(Watch(), plan, here.root) as watch:
        watch.ended(trial.trial_id, "completed", store.folder)
    assert ("ended", trial.trial_id, "completed", 77.0) in CALLS


def test_a_study_on_a_store_is_known_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrackedStudy] = []
    monkeypatch.setattr(Told, "begin", lambda told: seen.append(told.study))
    for name in ("one", "two"):
        with tracked(Watch(), plan_of(tmp_path, "told"), machine(name, tmp_path).root):
            pass
    assert {study.place for study in seen} == {f"file://{tmp_path / 'store'}"}
    assert len({study.key for study in seen}) == 1


def test_passwords_in_the_options_of_an_address_are_left_out() -> None:
    said = "cannot connect to postgresql://db/mlflow?user=me&password=hunter2&sslmode=on"
    assert without_secrets(said) == "cannot connect to postgresql://db/mlflow?user=me&password=***&sslmode=on"
