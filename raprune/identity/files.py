"""Files by their content, and whether those that settings name have changed: by looking at the folder alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raprune.system.paths import expanded

DIGEST_BYTES = 16
Signature = tuple[tuple[str, int, int, int], ...]


def signature_of(settings: Mapping[str, Any]) -> Signature:
    """Name, size and times of every file that a text among ``settings`` names, or that lies under a folder it names."""
    return tuple(sorted(entry for path in _paths(settings) for entry in _entries(path)))


def files_in(settings: Mapping[str, Any]) -> list[str]:
    """The files and folders that are there among what ``settings`` name."""
    found = {str(path) for path in _paths(settings) if len(path.parts) > 1 and path.exists()}
    return sorted(found)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, str) and value:
        yield expanded(value)
    elif isinstance(value, Mapping):
        yield from _paths(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def _entries(path: Path) -> Iterator[tuple[str, int, int, int]]:
    try:
        if path.is_dir():
            for folder, _, files in os.walk(path):
                yield from (_entry(os.path.join(folder, name)) for name in files)
        elif path.exists():
            yield _entry(str(path))
    except (OSError, ValueError):  # a text that is no path, or a file that went meanwhile: whoever reads it will tell
        return


def _entry(file: str) -> tuple[str, int, int, int]:
    found = os.stat(file)
    return file, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def of_file(file: Path) -> str:
    """Digest of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
