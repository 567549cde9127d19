"""Paths as people write them: ``~`` and ``$VARIABLES`` expand as in a shell, and what is not a path is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from raprune.errors import InputError, meaning

PACKAGE = Path(__file__).parents[1]
"""The folder of raprune's own code: the only place that says where it lies."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
"""Starts an address, such as ``s3://bucket/folder``, which is not a path."""
UNREADABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what Python makes of bytes in a file's name that are no UTF-8."""


def given_path(text: str | os.PathLike[str], what: str = "") -> Path:
    """The path that a person wrote, ``~`` expanded; error messages begin with ``what`` it is for.

    Raises :class:`InputError` for an empty text, an address such as ``s3://bucket/folder``, and a null character.
    """
    path, before = os.fspath(text), f"{what}: " if what else ""
    if not path.strip():
        raise InputError(f"{before}must name a file or a folder; got {path!r}")
    if ADDRESS.match(path):
        raise InputError(
            f"{before}{path} is an address, not a path: a local file or folder is needed here; mount it, or copy "
            "what is needed"
        )
    if "\0" in path:
        raise InputError(f"{before}{path!r} cannot be a path: it contains a null character")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{before}{path}: the home folder that ~ stands for is unknown; write the path out") from None


def legible(path: str | os.PathLike[str]) -> str:
    """A path for a message: on one line, with what is no UTF-8 text escaped."""
    return UNREADABLE.sub(lambda match: ascii(match[0])[1:-1], os.fspath(path))


def expanded(path: str) -> Path:
    """A path of a study file: ``$VARIABLES`` and ``~`` expanded."""
    return Path(os.path.expanduser(os.path.expandvars(path)))


def folder_for(out: str | os.PathLike[str], what: str) -> Path:
    """The folder that a person named, created if need be and writable; error messages begin with ``what`` it is for."""
    folder = given_path(out, what)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else meaning(error)
        raise InputError(f"{what}: {str(folder)!r} cannot be a folder: {why}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{what}: {folder} is not writable: change its permissions, or choose another folder")
    return folder
