"""Paths as people write them: ``~`` and ``$VARIABLES`` as a shell has them, and what is no path refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from raprune.errors import InputError, meaning

PACKAGE = Path(__file__).parents[1]
"""The folder of raprune's own code: the only place that says where it lies."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
"""Begins what is no path, such as ``s3://bucket/folder``."""


def given_path(text: str | os.PathLike[str], what: str = "") -> Path:
    """The path that a person gave, ``~`` expanded; ``what`` it is for begins an error.

    Raises :class:`InputError` for an empty text, an address such as ``s3://bucket/folder`` and what no path can hold.
    """
    path, before = os.fspath(text), f"{what}: " if what else ""
    if not path.strip():
        raise InputError(f"{before}must name a file or a folder; got {path!r}")
    if ADDRESS.match(path):
        raise InputError(
            f"{before}{path} is an address, not a path: raprune reads and writes files of this machine; mount it, or "
            "copy the folder afterwards"
        )
    if "\0" in path:
        raise InputError(f"{before}{path!r} cannot be a path: it holds a null character")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{before}{path}: the home folder that ~ stands for is not known; write it out") from None


def expanded(path: str) -> Path:
    """A path of a study file: ``$VARIABLES`` and ``~`` expanded."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


def folder_for(out: str | os.PathLike[str], what: str) -> Path:
    """The folder that a person gave, made if need be and found to be writable; ``what`` it is for begins an error."""
    folder = given_path(out, what)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else meaning(error)
        raise InputError(f"{what}: {str(folder)!r} cannot be a folder: {why}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{what}: {folder} may not be written to: change its permissions, or name another folder")
    return folder
