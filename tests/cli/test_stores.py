"""The commands that read results take the address of a store, and leave it as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raprune.api import load_study, run_study
from raprune.errors import StorageError
from raprune.results import FolderLock, read_study
from raprune.system.store import Driving
from raprune.system.store.remote import Remote
from tests.fuzz.running import call
from tests.launch.runs import assert_same_rows
from tests.short import IMPORT
from tests.system.store.fakes import content_sizes, machine


@pytest.fixture
def url(small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a finished study on a store, which is a folder here."""
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_study[1], tmp_path / "store" / "small ü=1")
    return f"file://{tmp_path}/store/small ü=1"


def test_commands_read_from_a_store(url: str, small_study: tuple[Path, Path], tmp_path: Path) -> None:
    before = content_sizes(tmp_path / "store")
    row = read_study(small_study[1]).trials.iloc[0]
    trial = f"{url}/trials/{row['trial_id']}"
    listed = call("ls", url)
    assert (listed.code, trial in listed.text) == (0, True), listed
    above = call("ls", url.rpartition("/")[0])
    assert (above.code, "small ü=1 (small)" in above.text, "2 of 2 completed" in above.text) == (0, True, True), above
    found = json.loads(call("ls", url, "--json").text)
    assert found["folder"] == url
    shown = call("watch", url, "--once")
    assert (shown.code, "small: ended, 2 completed" in shown.text) == (0, True), shown
    assert call("report", url, "--out", str(tmp_path / "page")).code == 0
    assert (tmp_path / "page" / "index.html").is_file()
    assert call("compare", trial, str(small_study[1])).code in (0, 1)
    allowed = ("--format", "safetensors", "--allow-import", IMPORT)
    exported = call("export", trial, "--out", str(tmp_path / "net.safetensors"), *allowed)
    assert (exported.code, (tmp_path / "net.safetensors").is_file()) == (0, True), exported
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]
    assert content_sizes(tmp_path / "store") == before


def test_what_is_not_there_is_said(url: str) -> None:
    for command in ("report", "watch"):
        answer = call(command, f"{url}/nothing")
        assert (answer.code, "nothing contains no results" in answer.text) == (2, True), answer
    answer = call("ls", f"{url}/nothing")
    assert (answer.code, "contains no study" in answer.text) == (2, True), answer
    answer = call("clean", f"{url}/nothing")
    assert (answer.code, "nothing contains no results" in answer.text) == (2, True), answer
    for command in (("report", url, "--out", "s3://b/page"), ("export", f"{url}/trials/x", "--out", "s3://b/x")):
        answer = call(*command, *(("--format", "onnx") if command[0] == "export" else ()))
        assert (answer.code, "is an address, not a path" in answer.text) == (2, True), answer


def test_a_finished_study_on_a_store_is_not_run_again(url: str, small_study: tuple[Path, Path]) -> None:
    result = run_study(load_study(small_study[0]), url, 0, progress=False, report=False)
    assert result.completed
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]


def _names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_clean_frees_the_store_without_taking_what_is_large(
    url: str, small_study: tuple[Path, Path], tmp_path: Path
) -> None:
    store, cache = tmp_path / "store" / "small ü=1", tmp_path / "cache"
    stale = store / "trials" / "0123456789ab"
    shutil.copytree(next((store / "trials").iterdir()), stale)
    before = _names(store)
    shown = call("clean", url)
    assert (shown.code, url in shown.text, "nothing is changed" in shown.text) == (0, True, True), shown
    local = call("clean", str(shutil.copytree(store, tmp_path / "local")))
    of_store, of_local = ([x.split()[:3] for x in told.text.splitlines() if "--" in x][:6] for told in (shown, local))
    assert of_store == of_local
    assert _names(store) == before
    assert call("clean", url, "--stale", "--memo", "--yes").code == 0
    gone = {name for name in before if name.startswith(("memo/", "trials/0123456789ab/"))}
    assert gone
    assert _names(store) == before - gone
    taken = _names(cache)
    assert taken
    assert not [name for name in taken if name.endswith(".safetensors") or "/memo/" in name]
    kept = call("clean", url, "--models", "--keep", "best", "--yes")
    assert kept.code == 0, kept
    marked, with_network = (store.glob(f"trials/*/{name}") for name in ("model_removed.json", "model/*.safetensors"))
    rows = {file.parent for file in store.glob("trials/*/trial.parquet")}
    assert {file.parent for file in marked} == rows - {file.parents[1] for file in with_network} != set()
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]


def test_a_study_that_runs_on_its_store_is_not_cleaned(url: str, tmp_path: Path) -> None:
    running = machine("other", tmp_path, url)
    before = content_sizes(tmp_path / "store" / "small ü=1" / "trials")
    with Driving(running.root, print):
        for more in ((), ("--yes", "--stale")):
            answer = call("clean", url, *more)
            assert (answer.code, "is in use by process" in answer.text) == (2, True), answer
    assert content_sizes(tmp_path / "store" / "small ü=1" / "trials") == before


def test_mirrors_are_freed_of_what_the_store_has(url: str, small_study: tuple[Path, Path], tmp_path: Path) -> None:
    assert run_study(load_study(small_study[0]), url, 0, progress=False, report=False).completed
    (own,) = (tmp_path / "cache" / "raprune-stores" / "own").iterdir()
    (own / "trials" / "mine").mkdir()
    (own / "trials" / "mine" / "layers-0.parquet").write_text("not sent yet")
    (own / "time.json").write_text("changed since")
    answer = call("clean", "--mirrors")
    assert (answer.code, str(own) in answer.text, "2 files are only here and stay" in answer.text) == (0, True, True)
    assert len(_names(own)) > 10
    with FolderLock(own):
        answer = call("clean", "--mirrors", "--yes")
        assert (answer.code, f"not deleted: {own} is in use by process" in answer.text) == (1, True), answer
    assert len(_names(own)) > 10
    assert call("clean", "--mirrors", "--yes").code == 0
    left = {name for name in _names(own) if not name.startswith(".")}
    assert left == {"trials/mine/layers-0.parquet", "time.json"}
    for name in left:
        (own / name).unlink()
    assert run_study(load_study(small_study[0]), url, 0, progress=False, report=False).completed  # takes it again
    assert call("clean", url, "--mirrors", "--yes").code == 0
    assert not own.exists()
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "cache")
    answer = call("clean", "--mirrors")
    assert (answer.code, "no copies of results on a store" in answer.text) == (0, True), answer
    assert call("clean").code == 2


def test_mirrors_of_a_store_that_is_away_stay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("ls", url).code == 0
    (mirror,) = (tmp_path / "cache" / "raprune-stores" / "read").iterdir()
    shutil.move(tmp_path / "store", tmp_path / "away")
    before = content_sizes(mirror)
    answer = call("clean", "--mirrors", "--yes")  # a store without its objects
    assert (answer.code, "files are only here and stay" in answer.text) == (0, True), answer

    def away(self: Remote) -> None:
        raise StorageError(f"{self.address} cannot be read: no route to host")

    monkeypatch.setattr(Remote, "check", away)
    answer = call("clean", "--mirrors", "--yes")
    assert (answer.code, "cannot be read: no route to host" in answer.text) == (2, True), answer
    assert content_sizes(mirror) == before
