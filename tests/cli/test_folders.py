"""`ls` and `clean`: what a folder of results holds, and what can be deleted from it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.results import FolderLock, read_study
from raprune.results.shelf import disk_use, study_entry
from raprune.study import load_study
from raprune.system.writing import aside_of
from tests.launch.runs import Watch


@pytest.fixture
def done(tmp_path: Path, small_study: tuple[Path, Path]) -> Path:
    """A copy of a finished study, results/done."""
    return Path(shutil.copytree(small_study[1], tmp_path / "results" / "done"))


def test_ls_tells_studies_and_damage_in_a_line(run, done: Path) -> None:
    results = done.parent
    (results / "broken").mkdir()
    (results / "broken" / "manifest.json").write_text("[]")
    (results / "other").mkdir()
    code, out = run("ls", results)
    number = len(read_study(done).trials)
    assert code == 0
    assert f"{number} of {number} completed" in out
    assert "broken" in out
    assert "damaged" in out
    assert "other" not in out
    assert [line for line in out.splitlines() if "manifest.json is damaged" in line]
    assert "Traceback" not in out


def test_ls_of_a_study_lists_what_export_takes(run, done: Path) -> None:
    code, out = run("ls", done)
    assert code == 0
    for row in read_study(done).trials.to_dict("records"):
        line = next(line for line in out.splitlines() if line.startswith(row["trial_id"]))
        assert f"{row['pruning_ratio']:.1%}" in line
    path = Path(out.splitlines()[-1].split()[0])
    assert (path / "model" / "plan.json").is_file()


def test_ls_as_json_agrees_with_the_tables(run, done: Path) -> None:
    _, out = run("ls", done.parent, "--json")
    (found,) = json.loads(out)
    rows = read_study(done).trials
    within = rows[rows["val_score_drop"] <= rows["drop_bound"] + 1e-9]
    fewest = (1 - within["macs"] / within["baseline_macs"]).max()
    assert found["best"]["macs_removed"] == pytest.approx(fewest)
    assert found["num_planned"] == len(rows)
    assert found["running"] is None
    _, out = run("ls", done, "--json")
    assert [trial["trial_id"] for trial in json.loads(out)["trials"]] == list(rows["trial_id"])


def test_ls_marks_a_running_study_a_rehearsal_and_a_damaged_row(run, done: Path) -> None:
    manifest = json.loads((done / "manifest.json").read_text())
    (done / "manifest.json").write_text(json.dumps(manifest | {"rehearses": "large"}))
    (done / "trials" / manifest["trial_ids"][0] / "trial.parquet").write_bytes(b"x")
    with FolderLock(done):
        _, out = run("ls", done.parent)
        assert FolderLock(done).holder() == f"process {os.getpid()} on {os.uname().nodename}"
    assert FolderLock(done).holder() is None
    assert "; running" in out
    assert "(rehearsal)" in out
    assert "1 damaged" in out
    assert study_entry(done).statuses["damaged"] == 1


def test_ls_says_that_there_is_nothing(run, tmp_path: Path) -> None:
    said = f"{tmp_path} contains no study: neither it nor a folder in it has a manifest.json\n"
    for options in ((), ("--json",)):
        assert run("ls", tmp_path, *options) == (2, said)
    code, out = run("ls", tmp_path / "none")
    assert code == 2
    assert "is not a folder" in out


def litter(done: Path) -> dict[str, Path]:
    """One thing of each kind that `clean` may delete, beside what the study has."""
    made = {
        "stale": done / "trials" / "0123456789ab" / "trial.parquet",
        "partial": done / aside_of("manifest.json"),
        "reports": done / "report" / "index.html",
        "memo": done / "memo" / "host.jsonl",
    }
    for file in made.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    return made


def test_clean_changes_nothing_without_yes(run, done: Path) -> None:
    litter(done)
    before = sorted(done.rglob("*"))
    code, out = run("clean", done, "--stale", "--memo", "--reports", "--state")
    assert code == 0
    assert "nothing is changed" in out
    assert sorted(done.rglob("*")) == before


def test_clean_deletes_the_usual_kinds_only(run, done: Path) -> None:
    made, before = litter(done), read_study(done).trials
    assert run("clean", done, "--yes")[0] == 0
    assert {kind for kind, file in made.items() if file.exists()} == {"reports", "memo"}
    assert read_study(done).trials.equals(before)


def test_after_every_kind_the_study_reads_and_resumes_as_before(run, small_study, done: Path) -> None:
    made, before = litter(done), read_study(done)
    size = disk_use([done])[0]
    kinds = ("--stale", "--partial", "--unfinished", "--memo", "--reports", "--state", "--models")
    code, out = run("clean", done, *kinds, "--yes")
    assert code == 0
    assert "freed" in out
    assert not any(file.exists() for file in made.values())
    assert disk_use([done])[0] < size
    for name in ("trials", "layers", "updates", "candidates"):
        assert getattr(read_study(done), name).equals(getattr(before, name))
    rows = {file: file.stat().st_mtime_ns for file in done.rglob("trial.parquet")}
    assert run_study(load_study(small_study[0]), done, Watch(), num_evaluators=0).exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in done.rglob("trial.parquet")} == rows


def test_clean_keeps_the_network_that_a_rule_keeps(run, done: Path) -> None:
    assert run("clean", done, "--models", "--keep", "best", "--yes")[0] == 0
    (left,) = [entry for entry in study_entry(done).trials if entry.has_network]
    assert left == study_entry(done).best
    assert run("clean", done, "--keep", "best")[0] == 2
    assert run("clean", done, "--models", "--keep", "worst")[0] == 2


def test_clean_starts_unfinished_trials_anew_and_no_completed_one(run, done: Path) -> None:
    first, *others = read_study(done).trials["trial_id"]
    (done / "trials" / first / "trial.parquet").unlink()
    assert study_entry(done).statuses["unfinished"] == 1
    assert run("clean", done, "--unfinished", "--yes")[0] == 0
    assert not (done / "trials" / first).exists()
    assert list(read_study(done).trials["trial_id"]) == others


def test_clean_follows_no_link(run, done: Path, tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (done / "trials" / "fedcba987654").symlink_to(outside)
    (done / "trials" / "0123456789ab").mkdir()
    (done / "trials" / "0123456789ab" / "link").symlink_to(outside)
    shutil.rmtree(done / "memo", ignore_errors=True)
    (done / "memo").symlink_to(outside)
    assert run("clean", done, "--stale", "--memo", "--yes")[0] == 0
    assert (outside / "file").read_text() == "mine"
    assert not (done / "trials" / "0123456789ab").exists()
    assert (done / "memo").is_symlink()


def test_clean_touches_no_running_study_and_no_other_folder(run, done: Path, tmp_path: Path) -> None:
    made = litter(done)
    with FolderLock(done):
        code, out = run("clean", done, "--yes")
    assert code == 2
    assert "is in use by process" in out
    assert all(file.exists() for file in made.values())
    mine = tmp_path / aside_of("mine")
    mine.write_text("mine")
    code, out = run("clean", tmp_path, "--yes")
    assert code == 2
    assert "contains no study" in out
    assert mine.exists()


def test_clean_names_what_it_cannot_delete(run, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = litter(done)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    code, out = run("clean", done, "--partial", "--yes")
    assert code == 1
    assert f"not deleted: {made['partial']}: permission denied" in " ".join(out.split())


def test_a_training_that_was_cut_short_counts_as_unfinished(run, done: Path) -> None:
    left = done / "training" / "0123" / "so_far.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(1000))
    code, out = run("clean", done)
    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["--unfinished"]]
    assert (code, row[1:4]) == (0, ["1", "1", "kB"])
    assert run("clean", done, "--yes")[0] == 0
    assert left.is_file()
    assert run("clean", done, "--unfinished", "--yes")[0] == 0
    assert not left.parent.exists()
