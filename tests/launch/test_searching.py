"""A search suggests the same trials wherever it runs and however often it is interrupted. Its trials are imitated here:
a formula writes their rows in no time."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from raprune.launch import Outcome, run, run_study
from raprune.launch.execute import Place
from raprune.launch.suggesting import Suggestions, with_suggestions
from raprune.results import TrialStore, read_manifest, read_study
from raprune.results.sound import MEASURED
from raprune.study import StudyPlan, TrialSpec, load_study
from raprune.study.parts import EvaluatorsSpec
from raprune.trial.rows import unfinished_row
from tests.launch.runs import Watch
from tests.study.searched import STUDY, study


class Killed(Exception):
    """The process was killed."""


class Imitated:
    """Runs trials by a formula; fails or is killed where it is told so."""

    def __init__(self, out: Path) -> None:
        self.place = Place(str(out), "default", EvaluatorsSpec(count=0), 0, "cpu", None)
        self.ran: list[str] = []
        self.waves: list[int] = []
        self.killed_at: int | None = None
        self.failing = False
        self.reversed = False
        self.reads = False
        """Whether it leaves a trial with a row alone, as trials do."""

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        self.prepared = list(trials)

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Any) -> None:
        self.waves.append(len(trials))
        for trial in reversed(trials) if self.reversed else trials:
            if len(self.ran) == self.killed_at:
                raise Killed
            store = self.place.store(trial)
            if self.reads and store.status() is not None:
                continue
            self.ran.append(trial.trial_id)
            failed = self.failing and trial.order.name == "low_to_high"
            row = unfinished_row(trial, "default", "failed" if failed else "completed", "why" if failed else None)
            bound = trial.drop_bound or 0.0
            good = 1.0 if trial.order.name == "high_to_low" else 0.5
            if not failed:
                row |= dict.fromkeys(MEASURED, 1)
                row |= {"pruning_ratio": good * bound / 40, "val_score_drop": bound * 0.9, "val_score": 90.0}
            store.write_trial(row)
            watch.ended(trial.trial_id, row["status"], store.folder)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imitated:
    pytest.importorskip("optuna")
    found = Imitated(tmp_path / "out")

    @contextlib.contextmanager
    def here(*_: Any) -> Iterator[Imitated]:
        yield found

    monkeypatch.setattr(run, "_runner", here)
    return found


def search(folder: Path, *overrides: str, watch: Watch | None = None) -> Outcome:
    return run_study(study(folder, *overrides), folder / "out", watch or Watch(), num_evaluators=0)


def suggested(folder: Path) -> list[str]:
    return [one["trial_id"] for one in json.loads((folder / "out" / "search.json").read_text())["suggestions"]]


def test_it_finds_what_is_good(runner: Imitated, tmp_path: Path) -> None:
    """The best is close to the best there is, and within the limit; every row is that of a suggestion."""
    outcome = search(tmp_path, "search.trials=24")
    assert outcome.exit_code == 0
    assert len(outcome.statuses) == len(set(runner.ran)) == 24
    assert set(runner.waves) == {3}
    table = read_study(tmp_path / "out").trials
    assert list(table["trial_id"].sort_values()) == sorted(outcome.statuses)
    assert read_manifest(tmp_path / "out")["trial_ids"] == suggested(tmp_path)
    best = table[table["val_score_drop"] <= 20]["pruning_ratio"].max()
    assert best > 0.5  # of 0.556, at a bound of 22.2
    assert (table["order"] == "high_to_low").sum() >= 15  # of the good ones it tries more
    assert len(runner.prepared) >= 1


def test_interrupted_anywhere_it_suggests_the_same(runner: Imitated, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    runner.place = Place(str(whole / "out"), "default", EvaluatorsSpec(count=0), 0, "cpu", None)
    search(whole)
    expected, count = suggested(whole), len(runner.ran)
    for killed_at in (1, 7):
        folder = tmp_path / str(killed_at)
        folder.mkdir()
        runner.place = Place(str(folder / "out"), "default", EvaluatorsSpec(count=0), 0, "cpu", None)
        runner.ran, runner.killed_at, runner.reversed = [], killed_at, True  # in which order they end is all the same
        with pytest.raises(Killed):
            search(folder)
        runner.killed_at = None
        assert search(folder).exit_code == 0
        assert suggested(folder) == expected
        assert len(runner.ran) == count  # nothing twice


def test_a_finished_search_goes_on_with_more_trials(runner: Imitated, tmp_path: Path) -> None:
    search(tmp_path, "search.trials=6")
    first = suggested(tmp_path)
    assert search(tmp_path, "search.trials=6").exit_code == 0
    assert len(runner.ran) == 6
    search(tmp_path, "search.trials=9")
    assert suggested(tmp_path)[:6] == first
    assert len(runner.ran) == 9
    assert set(with_suggestions(study(tmp_path), tmp_path / "out").axes) >= set(first)


def test_failed_trials_teach_nothing_and_run_again(runner: Imitated, tmp_path: Path) -> None:
    runner.failing = True
    outcome = search(tmp_path, "search.trials=6")
    assert outcome.exit_code == 1
    failed = sum(status == "failed" for status in outcome.statuses.values())
    assert 0 < failed < 6
    runner.failing, runner.ran = False, []
    assert search(tmp_path, "search.trials=6").exit_code == 0
    assert len(runner.ran) == failed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-30], "is damaged: moved to"),
        (lambda text: re.sub(r'"low_to_high"', '"__import__"', text), "is damaged: moved to"),
        (lambda text: text.replace('"drop_bound"', '"seed"'), "is damaged: moved to"),
        (lambda text: text.replace('"suggestions": [', '"suggestions": [3,'), "is damaged: moved to"),
        (lambda text: re.sub(r'"key": "\w+"', '"key": "another"', text), "has changed since"),
    ],
)
def test_a_damaged_record_is_made_again(runner: Imitated, tmp_path: Path, change: Any, said: str) -> None:
    """The suggestions are those that it held: they follow from the rows."""
    search(tmp_path, "search.trials=6")
    file, before, watch = tmp_path / "out" / "search.json", suggested(tmp_path), Watch()
    file.write_text(change(file.read_text()))
    assert search(tmp_path, "search.trials=6", watch=watch).exit_code == 0
    assert said in watch.notes[0]
    assert suggested(tmp_path) == before
    assert len(runner.ran) == 6


def test_a_changed_study_is_searched_anew(runner: Imitated, tmp_path: Path) -> None:
    search(tmp_path, "search.trials=3")
    before, watch = suggested(tmp_path), Watch()
    search(tmp_path, "search.trials=3", "credit=0.5", watch=watch)
    assert "has changed" in watch.notes[0]
    assert not set(before) & set(suggested(tmp_path))


def test_few_points_are_not_run_twice(runner: Imitated, tmp_path: Path) -> None:
    text = re.sub(r"  over:\n(    .*\n)+", "  over:\n    drop_bound: [1.0, 2.0]\n", STUDY)
    (tmp_path / "s.yaml").write_text(text)
    outcome = run_study(load_study(tmp_path / "s.yaml"), tmp_path / "out", Watch(), num_evaluators=0)
    assert outcome.exit_code == 0
    assert len(runner.ran) == len(outcome.statuses) == 2
    assert len(suggested(tmp_path)) == 12


def test_a_spent_budget_suggests_nothing(runner: Imitated, tmp_path: Path) -> None:
    search(tmp_path, "search.trials=3")
    (tmp_path / "out" / "time.json").write_text('{"run_s": 7200}')
    assert search(tmp_path, "budget.hours=1").exit_code == 0
    assert len(suggested(tmp_path)) == len(runner.ran) == 3


def test_the_stores_of_trials_are_left_alone(runner: Imitated, tmp_path: Path) -> None:
    search(tmp_path, "search.trials=1")
    store = TrialStore(tmp_path / "out", "searched", suggested(tmp_path)[0])
    assert store.has_ended()
    assert not store.is_dominated()


def test_what_an_earlier_search_left_runs_again(runner: Imitated, tmp_path: Path) -> None:
    """Another search suggests the same first points; their rows are those of a failure, an interruption, a disk."""
    search(tmp_path, "search.trials=9", "search.sampler=random")
    plan, expected = study(tmp_path, "search.trials=9", "search.sampler=random"), suggested(tmp_path)
    stores = [TrialStore(tmp_path / "out", "searched", name) for name in expected]
    trials = {trial.trial_id: trial for trial in with_suggestions(plan, tmp_path / "out").trials}
    for store, status in ((stores[4], "failed"), (stores[5], "stopped")):
        store.write_trial(unfinished_row(trials[store.trial_id], "default", status, None))
    (stores[7].folder / "trial.parquet").write_bytes(b"damaged")
    runner.ran, runner.reads = [], True
    outcome = search(tmp_path, "search.trials=9", "search.sampler=random", "search.minimise=macs")
    assert suggested(tmp_path) == expected
    assert runner.ran == [expected[4], expected[5], expected[7]]
    assert outcome.exit_code == 0


def test_a_trial_that_fails_is_not_run_again_and_again(runner: Imitated, tmp_path: Path) -> None:
    text = re.sub(
        r"  over:\n(    .*\n)+", "  over:\n    order: [low_to_high, high_to_low]\n    drop_bound: [1.0]\n", STUDY
    )
    (tmp_path / "s.yaml").write_text(text)
    runner.failing = True
    outcome = run_study(load_study(tmp_path / "s.yaml"), tmp_path / "out", Watch(), num_evaluators=0)
    assert sorted(outcome.statuses.values()) == ["completed", "failed"]
    assert len(runner.ran) == 2


def test_a_trial_that_was_stopped_is_behind_those_that_completed(runner: Imitated, tmp_path: Path) -> None:
    """Its drop is small because most of its network is whole."""
    changes = ("search.trials=3", "search.at_most={}", "search.minimise=val_score_drop", "scheduler=asha")
    search(tmp_path, *changes)
    plan, names = study(tmp_path, *changes), suggested(tmp_path)
    store = TrialStore(tmp_path / "out", "searched", names[1])
    row = dict(store.trial_row() or {})
    store.write_trial(
        {key: value for key, value in row.items() if key not in ("study", "trial_id")}
        | {"status": "stopped", "stopped_by": "dominated", "val_score_drop": 0.0}
    )
    ranks = [one.rank for one in Suggestions(plan, tmp_path / "out", print)._seen(3)]
    assert ranks[1] == 2
