"""The commands that read results take the address of a store, and leave it as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raprune.api import load_study, run_study
from raprune.results import read_study
from tests.fuzz.running import call
from tests.launch.runs import assert_same_rows
from tests.system.store.fakes import content_sizes


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
    exported = call("export", trial, "--format", "safetensors", "--out", str(tmp_path / "net.safetensors"))
    assert (exported.code, (tmp_path / "net.safetensors").is_file()) == (0, True), exported
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]
    assert content_sizes(tmp_path / "store") == before


def test_what_is_not_there_is_said(url: str) -> None:
    for command in ("report", "watch"):
        answer = call(command, f"{url}/nothing")
        assert (answer.code, "nothing contains no results" in answer.text) == (2, True), answer
    assert "contains no study" in call("ls", f"{url}/nothing").text
    answer = call("clean", url)
    assert (answer.code, "is an address, not a path" in answer.text) == (2, True), answer


def test_a_finished_study_on_a_store_is_not_run_again(url: str, small_study: tuple[Path, Path]) -> None:
    result = run_study(load_study(small_study[0]), url, 0, progress=False, report=False)
    assert result.completed
    assert_same_rows(small_study[1], url)  # type: ignore[arg-type]
