"""A trial that a scheduler stops keeps what it has, stays as it is with the scheduler, and goes on without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from raprune.artefact.cleaning import open_study
from raprune.console.shelf import counts, study_data
from raprune.console.snapshot import _from_tables
from raprune.console.tables import budget_sentence
from raprune.errors import StudyError
from raprune.launch import Outcome, run_study
from raprune.plugins.schedulers.base import SchedulerSettings, Standing
from raprune.registry import SCHEDULERS, Plugin
from raprune.results import read_manifest, read_study
from raprune.results.shelf import study_entry
from raprune.study import load_study
from raprune.trial.pacing import Course
from tests.fuzz.small import STUDY
from tests.launch.runs import Watch, assert_same_rows

TWO = (
    STUDY[: STUDY.index("budget:")]
    + "method: {name: agent, min_updates: 2, max_updates: 2}\nsweep: {data_seed: [0, 1]}\n"
)
SEEN: list[tuple[int, int]] = []


class AlwaysAfterOne:
    """Stops after one layer whatever has somebody before it."""

    def __init__(self, settings: SchedulerSettings) -> None:
        del settings

    def stops(self, num_layers: int, own: Standing, others: Sequence[Standing]) -> bool:
        SEEN.append((num_layers, len(others)))
        return num_layers == 1 and len(others) > 0


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Plugin("scheduler", "always", SchedulerSettings, AlwaysAfterOne)
    monkeypatch.setitem(SCHEDULERS._load(), "always", found)
    SEEN.clear()


def run(folder: Path, *overrides: str, watch: Watch | None = None) -> Outcome:
    folder.mkdir(exist_ok=True)
    (folder / "two.yaml").write_text(TWO)
    plan = load_study(folder / "two.yaml", overrides)
    return run_study(plan, folder / "out", watch or Watch(), num_evaluators=0)


def test_stopped_left_alone_and_resumed(scheduler: None, tmp_path: Path) -> None:
    paced = "scheduler={name: always, at_once: 1}"
    outcome = run(tmp_path / "a", paced)
    out = tmp_path / "a" / "out"
    assert outcome.exit_code == 0
    assert outcome.summary() == "1 completed, 1 dominated"
    assert SEEN == [(1, 0), (1, 1)]  # of two layers, the last is not asked about; each round knows those before it
    first, second = read_study(out).trials.to_dict("records")
    assert (first["status"], first["num_layers_decided"]) == ("completed", 2)
    assert (second["status"], second["stopped_by"], second["num_layers_decided"]) == ("stopped", "dominated", 1)
    assert second["val_score"] > 0
    assert _from_tables(out, read_manifest(out)).has_ended
    assert open_study(out).has_ended
    assert "did not begin" not in budget_sentence(out, "1 hour")
    assert counts(study_entry(out)) == "1 of 2 completed, 1 dominated"
    assert [trial["stopped_by"] for trial in study_data(study_entry(out), with_trials=True)["trials"]] == [
        None,
        "dominated",
    ]
    watch = Watch()
    assert run(tmp_path / "a", paced, watch=watch).exit_code == 0
    assert watch.commits == 0
    watch = Watch()
    assert run(tmp_path / "a", watch=watch).summary() == "2 completed"
    num_joint = (read_study(out).joint["trial_id"] == second["trial_id"]).sum()
    assert watch.commits == 1 + num_joint  # from its last committed layer
    run(tmp_path / "b")
    assert_same_rows(tmp_path / "b" / "out", out)


def test_only_what_decided_the_same_layers_is_compared() -> None:
    standings = tuple(Standing(macs, 0.0) for macs in (90, 80, 70))
    course = Course("key", ("a", "b", "c"), standings)
    assert course.at(Course("key", ("b", "a"), standings[:2])) == standings[1]
    assert course.at(Course("key", ("a", "b", "c"), standings)) == standings[2]
    assert course.at(Course("key", ("c",), standings[:1])) is None
    assert course.at(Course("another", ("a",), standings[:1])) is None
    assert course.at(Course("key", ("a", "b", "c", "d"), standings)) is None


def test_no_scheduler_beside_a_matched_method(tmp_path: Path) -> None:
    (tmp_path / "matched.yaml").write_text(STUDY)
    with pytest.raises(StudyError, match="scheduler: must not stand beside a matched method"):
        load_study(tmp_path / "matched.yaml", ["scheduler=asha"])
