"""Files written aside and renamed: one that has its final name is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from raprune.errors import naming


def aside_of(name: str) -> str:
    """The name under which ``name`` is written beside it; another one each time.

    A process id would not do: processes in two containers, or on two machines that share a folder, may have the same,
    and so may one that was killed and the one that takes its place.
    """
    return f".{name}.{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def replacing(file: Path, aside: Path | None = None, *, durable: bool = True) -> Iterator[Path]:
    """A place beside ``file`` to write to. It gets the file's name at the end of the block, or is removed.

    ``aside`` is that place, where it has a name of its own. ``durable``: once the bytes are on the disk, so that the
    file is complete even after a power cut.
    """
    aside = aside or file.with_name(aside_of(file.name))
    try:
        yield aside
        if durable:
            with aside.open("rb") as complete:
                os.fsync(complete.fileno())
        os.replace(aside, file)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """As :func:`replacing`, for a folder of files: an empty one beside ``folder``, which then takes its place."""
    aside, old = (folder.with_name(aside_of(folder.name)) for _ in range(2))
    aside.mkdir()
    try:
        yield aside
        for file in aside.iterdir():
            with file.open("rb") as complete:
                os.fsync(complete.fileno())
        if folder.exists():
            os.replace(folder, old)
        os.replace(aside, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise


@contextlib.contextmanager
def written(file: Path) -> Iterator[Path]:
    """As :func:`replacing`; raises :class:`FileError` that names ``file``.

    A folder is made in one that exists, no more: one removed while raprune ran does not come back with half its files.
    """
    with naming(file):
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as aside:
            yield aside
