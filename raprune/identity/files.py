"""Files by their content, and those that settings name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raprune.system.paths import expanded

DIGEST_BYTES = 16


def files_in(settings: Mapping[str, Any]) -> list[str]:
    """The existing files and folders that ``settings`` name."""
    existing = {str(path) for path in _paths(settings) if len(path.parts) > 1 and path.exists()}
    return sorted(existing)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, str) and value:
        yield expanded(value)
    elif isinstance(value, Mapping):
        yield from _paths(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def of_file(file: Path) -> str:
    """Digest of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
