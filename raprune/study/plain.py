"""A study that a program writes as plain data: the same document as a file's, checked by the same rules."""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import Any

from raprune.study.reader import MAX_DEPTH, MAX_INTEGER, UNREADABLE, Document, child
from raprune.study.wording import shown


def document_of(data: dict[str, Any], name: str) -> Document:
    """``data`` as the study document called ``name``; tuples are lists and paths are text, as in YAML.

    What a study file could not hold is added to the document's problems.
    """
    document = Document(name, {})
    found = _inside(document, data, "", 1)
    document.data = found if isinstance(found, dict) else {}
    return document


def _plain(document: Document, value: Any, path: str, depth: int = 1) -> Any:
    if isinstance(value, dict | list | tuple) and depth < MAX_DEPTH:
        return _inside(document, value, path, depth + 1)
    if isinstance(value, PathLike):
        value = fspath(value)
    if (problem := _problem(value)) is None:
        return value
    document.problems.append(document.problem(path, problem))
    return UNREADABLE


def _inside(document: Document, value: Any, path: str, depth: int) -> Any:
    if not isinstance(value, dict):
        return [_plain(document, item, child(path, index), depth) for index, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            document.problems.append(document.problem(path, f"a key must be text; got {shown(key)}"))
            return UNREADABLE
    return {key: _plain(document, item, child(path, key), depth) for key, item in value.items()}


def _problem(value: Any) -> str | None:
    """Why a study must not contain a value; ``None`` where it may."""
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
