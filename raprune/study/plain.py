"""A study that a program writes as plain data: the same document as a file's, checked by the same rules."""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import Any

from raprune.errors import Problem
from raprune.study.reader import MAX_DEPTH, MAX_INTEGER, UNREADABLE, Document, child
from raprune.study.wording import shown


def document_of(data: dict[str, Any], name: str) -> Document:
    """``data`` as the study document called ``name``; tuples are lists and paths are text, as in YAML.

    What a study file could not hold is added to the document's problems.
    """
    problems: list[Problem] = []

    def plain(value: Any, path: str, depth: int = 0) -> Any:
        is_nested = isinstance(value, dict | list | tuple) and depth < MAX_DEPTH
        problem = _odd_key(value) if is_nested else _problem(value)
        if problem is not None:
            problems.append(Problem(name, path, problem))
            return UNREADABLE
        if is_nested and isinstance(value, dict):
            return {key: plain(item, child(path, key), depth + 1) for key, item in value.items()}
        if is_nested:
            return [plain(item, child(path, index), depth + 1) for index, item in enumerate(value)]
        return fspath(value) if isinstance(value, PathLike) else value

    found = plain(data, "")
    return Document(name, found if isinstance(found, dict) else {}, problems=problems)


def _odd_key(value: Any) -> str | None:
    """Why the keys of a mapping are not allowed in a study."""
    odd = [key for key in value if not isinstance(key, str)] if isinstance(value, dict) else []
    return f"a key must be text; got {shown(odd[0])}" if odd else None


def _problem(value: Any) -> str | None:
    """Why a study must not contain a value; ``None`` where it may."""
    value = fspath(value) if isinstance(value, PathLike) else value
    if value is None:
        return "has no value (None); omit the key to get its default"
    if isinstance(value, dict | list | tuple):
        return f"is nested more than {MAX_DEPTH} levels deep"
    if type(value) not in (bool, int, float, str):
        return f"must be text, a number, True or False; got {type(value).__name__} {shown(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number; got {shown(value)}"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"must be a 64-bit integer, at most {MAX_INTEGER}"
    return None
