"""Files that are damaged, missing, forbidden or somebody else's: a sentence that names them, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from safetensors import SafetensorError

from raprune.errors import DamagedError, FileError, InputError, RapruneError, in_words, naming
from raprune.launch import run_study
from raprune.results import SCHEMAS, TrialStore, read_json, read_study, write_text
from raprune.results.files import read_table
from raprune.study import load_study
from tests.fuzz.running import call
from tests.launch.runs import Watch, assert_same_rows
from tests.waiting import PATIENCE_S

Study = tuple[Path, Path]
Make = Callable[[Path], object]


class Listening(Watch):
    """Keeps what a study says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def phase(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def done(small_study: Study, tmp_path: Path) -> Study:
    """The small study's file, and a copy of its folder."""
    return small_study[0], Path(shutil.copytree(small_study[1], tmp_path / "done"))


def trial_of(out: Path, method: str) -> Path:
    """The folder of the trial with this method."""
    rows = read_study(out).trials
    return out / "trials" / str(rows.loc[rows["method"] == method, "trial_id"].iloc[0])


def go_on(study: Study) -> tuple[dict[str, str], str]:
    """The statuses of the study's methods after going on with it, and what it said meanwhile."""
    watch = Listening()
    run_study(load_study(study[0]), study[1], watch, num_evaluators=0)
    rows = read_study(study[1]).trials
    return dict(zip(rows["method"], rows["status"], strict=True)), "; ".join(watch.said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left"), "f: its disk is full: free some space, then run the same command"),
        (PermissionError(errno.EACCES, "Permission denied", "g"), "f: permission denied"),
        (OSError("of no number"), "f: of no number"),
        (pa.ArrowInvalid("no magic"), "f is damaged: it cannot be read as Parquet (no magic)"),
        (SafetensorError("header too large"), "f is damaged: it cannot be read as safetensors (header too large)"),
        (SafetensorError("I/O error: x (os error 28)"), "f: its disk is full"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "f is damaged: it is not UTF-8 text (byte 0)"),
    ],
)
def test_the_worlds_errors_in_words(error: Exception, said: str) -> None:
    assert (in_words(error, "f") or "").startswith(said)
    with pytest.raises(FileError) as found, naming("f", "do this"):
        raise error
    assert str(found.value).startswith(said)
    assert str(found.value).endswith("; do this")


def test_an_error_of_ours_stays_itself() -> None:
    assert in_words(KeyError("x")) is None
    with pytest.raises(KeyError), naming("f"):
        raise KeyError("x")


def test_a_full_disk_keeps_the_older_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "study.yaml", "old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FileError, match=r"study\.yaml: its disk is full: free some space"):
        write_text(tmp_path / "study.yaml", "new")
    assert (tmp_path / "study.yaml").read_text() == "old"
    assert os.listdir(tmp_path) == ["study.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as JSON"), ("[]", "it must contain a mapping"), ("null", "it contains null"),
        ("{}", "it has no run_s"), ('{"run_s": "1"}', "run_s is text"), ('{"run_s": true}', "run_s is true or false"),
        ('{"run_s": NaN}', "it contains NaN"), ('{"run_s": 1e999}', "is too large"), ("[" * 100_000, "as JSON"),
    ],
)  # fmt: skip
def test_json_that_is_not_what_was_written(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "time.json"
    file.write_text(text)
    with pytest.raises(DamagedError, match=r"time\.json is damaged: ") as found:
        read_json(file, {"run_s": (int, float)}, "delete it")
    assert said in str(found.value)
    assert str(found.value).endswith("; delete it")


def test_no_pipe_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "time.json")
    with pytest.raises(FileError, match="it is a pipe or a device, not a file"):
        read_json(tmp_path / "time.json", {})
    os.mkfifo(tmp_path / "study.yaml")
    with pytest.raises(InputError, match=r"study\.yaml: must be a file; it is a pipe"):
        load_study(tmp_path / "study.yaml")


def test_a_flipped_bit_in_a_table_is_found(small_study: Study, tmp_path: Path) -> None:
    trial = trial_of(small_study[1], "agent")
    raw = bytearray((trial / "layers-0.parquet").read_bytes())
    place = raw.index(b"features.")
    raw[place + 10] ^= 1
    (tmp_path / "layers-0.parquet").write_bytes(raw)
    with pytest.raises(DamagedError, match=r"layers-0\.parquet is damaged"):
        read_table(tmp_path / "layers-0.parquet", "layers", trial.name)


def test_a_table_of_another_trial_is_refused(small_study: Study) -> None:
    trial = trial_of(small_study[1], "agent")
    with pytest.raises(DamagedError, match=f"its rows belong to trial '{trial.name}'"):
        read_table(trial / "trial.parquet", "trial", "other")
    with pytest.raises(DamagedError, match="it has no column"):
        read_table(trial / "layers-0.parquet", "candidates", trial.name)
    assert read_table(trial / "layers-0.parquet", "layers", trial.name).schema == SCHEMAS["layers"]


def test_a_damaged_row_is_moved_aside_and_its_trial_ends_anew(done: Study, small_study: Study) -> None:
    file = trial_of(done[1], "agent") / "trial.parquet"
    os.truncate(file, 1000)
    cut = file.read_bytes()
    assert call("report", done[1]).fault(str(file)) is None
    statuses, said = go_on(done)
    assert statuses == {"agent": "completed", "magnitude": "completed"}
    assert f"{file} is damaged: moved to trial.parquet.damaged" in said
    assert file.with_name("trial.parquet.damaged").read_bytes() == cut
    assert_same_rows(small_study[1], done[1])


TABLE = pytest.param("updates-0.parquet", marks=pytest.mark.slow)  # read as the other tables are


@pytest.mark.parametrize("name", ["layers-0.parquet", TABLE, "candidates-0.parquet", "state/1.json"])
def test_a_damaged_file_fails_its_trial_alone(done: Study, name: str) -> None:
    trial = trial_of(done[1], "magnitude")
    for file in (trial / "trial.parquet", trial / "layers-1.parquet", *trial.glob("joint-*.parquet")):
        file.unlink()
    if name.startswith("state"):
        shutil.copyfile(trial / "layers-0.parquet", trial / "layers-1.parquet")
    (trial / name).write_bytes(b"\0" * 100)
    before = (trial / name).read_bytes()
    run_study(load_study(done[0]), done[1], Watch(), num_evaluators=0)
    rows = {method: TrialStore(done[1], "small", trial_of_row.name) for method, trial_of_row in _trials(done[1])}
    failed = rows["magnitude"].trial_row() or {}
    assert failed["status"] == "failed"
    assert f"{trial / name} is damaged" in failed["error"].splitlines()[0]
    assert "delete the folder" in failed["error"] or f"delete {trial}" in failed["error"]
    assert (rows["agent"].trial_row() or {})["status"] == "completed"
    assert (trial / name).read_bytes() == before


def _trials(out: Path) -> list[tuple[str, Path]]:
    found = []
    for folder in (out / "trials").iterdir():
        row = TrialStore(out, "small", folder.name).trial_row() or {}
        found.append((str(row["method"]), folder))
    return found


LINK = pytest.param(lambda file: file.symlink_to(file), marks=pytest.mark.slow)


@pytest.mark.parametrize("make", [os.mkfifo, pytest.param(Path.mkdir, marks=pytest.mark.slow), LINK])
def test_what_is_no_file_is_moved_aside(done: Study, make: Make) -> None:
    files = (trial_of(done[1], "agent") / "trial.parquet", done[1] / "time.json", done[1] / "manifest.json")
    for file in files:
        file.unlink()
        make(file)
    assert go_on(done)[0] == {"agent": "completed", "magnitude": "completed"}
    assert all(os.path.lexists(file.with_name(f"{file.name}.damaged")) for file in files)


@pytest.mark.parametrize("text", ["", "[]", '{"run_s": "x"}', '{"run_s": -5}'])
def test_a_damaged_clock_starts_again(done: Study, text: str) -> None:
    (done[1] / "time.json").write_text(text)
    _, said = go_on(done)
    assert "time.json is damaged: moved to time.json.damaged; the study's clock starts again" in said
    assert (done[1] / "time.json.damaged").read_text() == text
    assert 0 < read_json(done[1] / "time.json", {"run_s": float})["run_s"] < PATIENCE_S


def test_a_damaged_manifest_is_written_anew(done: Study) -> None:
    (done[1] / "manifest.json").write_text("{}")
    assert call("report", done[1]).fault("manifest.json is damaged: it has no schema_version") is None
    statuses, said = go_on(done)
    assert set(statuses.values()) == {"completed"}
    assert "manifest.json is damaged: moved to manifest.json.damaged" in said


def test_another_studys_folder_is_refused(done: Study) -> None:
    before = (done[1] / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="is the folder of study small, not of other: choose another with --out"):
        run_study(load_study(done[0], ["name=other"]), done[1], Watch(), num_evaluators=0)
    assert (done[1] / "manifest.json").read_bytes() == before


def test_a_folder_that_vanishes_is_not_made_again(small_study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch = Watch(lambda commits: shutil.rmtree(out))
    with pytest.raises(RapruneError, match=f"{out}.*removed"):
        run_study(load_study(small_study[0]), out, watch, num_evaluators=0)
    assert not [*out.rglob("*")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(done: Study, tmp_path: Path) -> None:
    (done[1] / "report").mkdir(exist_ok=True)
    for folder in (done[1] / "report", done[1]):
        folder.chmod(0o555)
    try:
        assert "choose another place with --out" in call("report", done[1]).text
        assert call("report", done[1], "--out", tmp_path / "mine").code == 0
        answer = call("study", done[0], "--out", done[1])
    finally:
        done[1].chmod(0o755)
        (done[1] / "report").chmod(0o755)
    assert (answer.code, answer.fault("is not writable")) == (2, None)


def test_a_report_goes_where_it_is_told(done: Study, tmp_path: Path) -> None:
    assert call("report", done[1], "--out", tmp_path / "mine").code == 0
    assert (tmp_path / "mine" / "index.html").is_file()
    assert not (done[1] / "report").exists()


def test_a_report_has_the_files_it_is_asked_for(done: Study, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    assert call("report", done[1], "--out", out, "--format", "csv, latex").code == 0
    assert {file.suffix for file in out.iterdir()} == {".html", ".csv", ".tex"}
    refused = call("report", done[1], "--out", out, "--format", "pdf")
    assert (refused.code, refused.fault("--format pdf is unknown")) == (2, None)
    refused = call("report", done[1], tmp_path)
    assert (refused.code, refused.fault("say where with --out DIR")) == (2, None)


def test_a_fault_of_ours_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("raprune.cli.reports.write_report", lambda *_, **__: {}["key"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = call("report", tmp_path)
    assert "this is a bug in raprune; please report it with" in answer.text
    (file,) = tmp_path.glob("raprune-*.txt")
    assert "Traceback" in file.read_text()
    assert "Traceback" not in answer.text
