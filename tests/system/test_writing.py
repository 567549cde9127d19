"""A file is written whole or not at all, and nothing stays beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import FileError
from raprune.system.writing import replacing, written


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
