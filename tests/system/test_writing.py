"""A file is written whole or not at all, and nothing stays beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import FileError
from raprune.system.writing import replacing, replacing_folder, written


@pytest.mark.parametrize("name", [None, "mine.aside"])
def test_a_file_appears_when_it_is_complete(tmp_path: Path, name: str | None) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file, None if name is None else tmp_path / name, durable=name is None) as aside:
        assert aside.parent == tmp_path
        assert name is None or aside.name == name
        aside.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def interrupted() -> None:
        with replacing(file) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_one_folder_is_made_and_no_more(tmp_path: Path) -> None:
    with written(tmp_path / "made" / "file") as aside:
        aside.write_text("text")
    assert (tmp_path / "made" / "file").read_text() == "text"
    with pytest.raises(FileError, match="gone/made/file: no such file or folder"), written(tmp_path / "gone/made/file"):
        pass
    assert not (tmp_path / "gone").exists()


def test_two_with_the_same_process_id_write_one_file(tmp_path: Path) -> None:
    """As in two containers that share a folder; here it is one process."""
    file = tmp_path / "file"
    with replacing(file) as one:
        one.write_text("one")
        with replacing(file) as two:
            two.write_text("two")
        assert file.read_text() == "two"
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_left_hinders_no_other(tmp_path: Path) -> None:
    """A container that starts again has the process id that it had before."""
    folder = tmp_path / "folder"
    with replacing_folder(folder) as left:  # as a process that is killed while it writes
        (left / "file").write_text("half")
        with replacing_folder(folder) as aside:
            (aside / "file").write_text("whole")
        assert (folder / "file").read_text() == "whole"
