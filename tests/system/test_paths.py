"""Paths as people write them, and what is no path, no folder or no study file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raprune import api
from raprune.errors import InputError
from raprune.network.graph.places import is_users
from raprune.results import SCHEMAS, read_study
from raprune.system import quitting
from raprune.system.paths import PACKAGE, expanded, folder_for, given_path
from tests.fuzz.running import call

Study = tuple[Path, Path]
Make = Callable[[Path], object]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "must name a file or a folder; got ''"), (" ", "must name"), ("s3://bucket/x", "is an address, not a path"),
     ("~nobody-at-all/x", "the home folder that ~ stands for is unknown")],
)  # fmt: skip
def test_what_is_no_path(text: str, said: str, small_study: Study) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        given_path(text)
    commands = [("schema", f"--out={text}"), ("study", small_study[0], f"--out={text}"), ("report", text)]
    for command in commands[: 1 if "://" in text else None]:  # the others take addresses, too
        answer = call(*command)
        assert (answer.code, said in answer.text) == (2, True), answer


def test_the_home_folder_is_that_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERE", "x")
    assert given_path("~/x") == expanded("~/$HERE") == tmp_path / "x"
    assert folder_for("~/x/y", "out").samefile(tmp_path / "x" / "y")


def test_a_name_with_a_colon_is_no_address(small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_study[1], "run:1")
    os.rename("run:1", "a=1:x")
    assert call("study", small_study[0], "--out", "a=1:x").code == 0
    assert list(read_study(Path("a=1:x")).trials.columns) == SCHEMAS["trial"].names


STUDY_FILES: dict[str, tuple[Make, str]] = {
    "folder": (lambda file: file.mkdir(), "it is a folder, but a file is needed"),
    "pipe": (os.mkfifo, "must be a file; it is a pipe"),
    "loop": (lambda file: file.symlink_to(file), "symbolic links form a loop"),
    "binary": (lambda file: file.write_bytes(bytes(range(256))), "is not UTF-8 text"),
    "null bytes": (lambda file: file.write_bytes(b"a: \0"), "contains a character that YAML forbids"),
    "huge": (lambda file: file.write_bytes(b"#" * 2_000_000), "is longer than"),
    "other encoding": (lambda file: file.write_bytes("name: x".encode("utf-16")), "is not UTF-8 text"),
}


@pytest.mark.parametrize("kind", STUDY_FILES)
def test_a_study_file_that_is_none(kind: str, tmp_path: Path) -> None:
    make, said = STUDY_FILES[kind]
    file = tmp_path / "study.yaml"
    make(file)
    for command in (("check", file), ("study", file, "--out", tmp_path / "out")):
        answer = call(*command)
        assert (answer.code, answer.fault(str(file))) == (2, None)
        assert said in answer.text
    with pytest.raises(InputError, match=r"study\.yaml"):
        api.load_study(file)


def test_a_name_that_is_too_long(tmp_path: Path, small_study: Study) -> None:
    assert "its name is too long" in call("check", tmp_path / ("x" * 300)).text
    assert "its name is too long" in call("study", small_study[0], "--out", tmp_path / ("x" * 300)).text


def test_no_file_of_ours_is_taken_for_the_users(tmp_path: Path) -> None:
    ours = [str(file) for file in PACKAGE.rglob("*.py")]
    theirs = str(tmp_path / "nets.py")
    assert len(ours) > 200
    assert [file for file in ours if is_users(file)] == []
    assert is_users(theirs)
    assert [file for file in ours if not quitting._is_installed(file)] == []
    assert not quitting._is_installed(theirs)
