"""Study files from Python: the same checks, the same rows, the tables as frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raprune.api import StudyResult, load_study, run_study
from raprune.api.running import folder_for
from raprune.errors import InputError, StudyError
from raprune.results import SCHEMAS
from tests.short import IMPORT
from tests.tiny import STUDY, write_study

SHORT = ("sweep={drop_bound: [2.0, 8.0]}", "method=magnitude", "layers=[features.40]")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("study")
    return run_study(load_study(write_study(folder), SHORT), folder / "out", 0, progress=False)


def test_the_tables_are_frames(result: StudyResult) -> None:
    assert result.completed
    assert set(result.statuses.values()) == {"completed"}
    assert list(result.frame("trial")["trial_id"]) == list(result.statuses)
    assert list(result.frame("layers")["layer"]) == ["features.40"] * 2
    for name, schema in SCHEMAS.items():
        assert list(result.frame(name).columns) == schema.names
    assert result.errors == {}
    with pytest.raises(InputError, match=r"no table is called 'trials'; did you mean 'trial'\?"):
        result.frame("trials")


def test_a_result_shows_the_table_that_ends_a_study(result: StudyResult) -> None:
    text, page = str(result), result._repr_html_()
    assert text.splitlines()[1].split()[:3] == ["method", "order", "bound"]
    *rows, baseline = [line for line in text.splitlines() if "%" in line]
    assert len(rows) == len(result.statuses)
    assert baseline.startswith("baseline: ")
    assert f"rows: {result.out}" in text
    assert f"report: {result.report_path}" in text
    assert page.startswith("<pre>")


def test_the_report_is_drawn_where_it_is_said(result: StudyResult) -> None:
    assert result.report_path is not None
    assert result.report_path.is_file()
    assert result.report_path.is_relative_to(result.out)


def test_a_file_goes_on_as_its_loaded_study_does(result: StudyResult, tmp_path: Path) -> None:
    rows = {file: file.stat().st_mtime_ns for file in result.out.glob("trials/*/trial.parquet")}
    again = run_study(write_study(tmp_path), result.out, 0, overrides=SHORT, progress=False, report=False)
    assert again.report_path is None
    assert len(rows) == 2
    assert rows == {file: file.stat().st_mtime_ns for file in rows}
    assert again.frame("trial").equals(result.frame("trial"))


def test_a_study_shows_what_check_shows(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path), "seed=3")
    assert study.name == "tiny"
    assert list(study.trials.columns) == ["trial_id", "drop_bound", "method", "matched_trial_id"]
    assert len(study.trials) == 6
    assert {trial.seed for trial in study.plan.trials} == {3}
    for said in ("tiny: 6 trials", f"{IMPORT} on digits: 4 layers can be pruned", "drop bound 2 points = 4.0 of 200"):
        assert said in str(study)


def test_everything_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(write_study(tmp_path, STUDY.replace("epochs: 2", "epochs: none")), ["drop_bound=0.01"])
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="overrides and rehearse: pass them to load_study"):
        run_study(load_study(write_study(tmp_path)), overrides=["seed=1"])
    with pytest.raises(InputError, match=r"out: .* cannot be a folder"):
        folder_for(write_study(tmp_path))


def test_failed_trials_are_rows_with_their_errors(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(result.out / "baselines", tmp_path / "out" / "baselines")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr("raprune.trial.run.commit_within_bound", fail)
    found = run_study(write_study(tmp_path), tmp_path / "out", 0, overrides=SHORT, progress=False, report=False)
    assert not found.completed
    assert all("RuntimeError: no more memory" in error for error in found.errors.values())
    assert set(found.errors) == set(found.statuses)
