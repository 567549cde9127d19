"""Values laid over values: a study over its preset, ``--set`` over a study, one point of the sweep over the rest."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from typing import Any

from raprune.errors import Problem, StudyError
from raprune.study.reader import Document, child, parse_scalar
from raprune.study.wording import shown

_PAIRS = (("epochs", "steps"), ("drop_bound", "score_floor"), ("name", "import"))
EITHER_OR = {key: other for pair in _PAIRS for key, other in (pair, pair[::-1])}
"""Two ways to say one thing: the upper layer's value replaces both."""


def set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings; a plug-in given by its bare name becomes ``{name: ...}`` on the way."""
    *parents, last = path.split(".")
    for key in parents:
        inside = data.get(key)
        if isinstance(inside, str):
            inside = {"name": inside}
        if not isinstance(inside, dict):
            inside = {}
        data[key] = inside = dict(inside)
        data = inside
    data.pop(EITHER_OR.get(last, ""), None)
    data[last] = value


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``under``, mapping by mapping."""
    out = copy.deepcopy(under)
    for key in over:
        out.pop(EITHER_OR.get(key, ""), None)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else copy.deepcopy(value)
    return out


def holds(data: Any, path: str) -> bool:
    """Whether nested mappings have a value at ``a.b.c``."""
    for key in path.split("."):
        if not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return True


def alternative(path: str) -> str | None:
    """The other way to say what ``a.b.epochs`` says: ``a.b.steps``."""
    parents, _, last = path.rpartition(".")
    other = EITHER_OR.get(last)
    return other and (f"{parents}.{other}" if parents else other)


def apply_overrides(document: Document, overrides: Iterable[str]) -> None:
    """Apply ``a.b=value`` texts: a value replaces an axis of the sweep, an axis replaces a value, and ``sweep={}``
    removes the whole sweep.

    Their problems are added to the document's.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            document.problems.append(Problem("--set", "", f"must be key=value, such as seed=1; got {shown(text)}"))
            continue
        try:
            parsed, texts = parse_scalar(value.strip(), key)
        except StudyError as error:
            document.problems += [Problem("--set", key, problem.message) for problem in error.problems]
            continue
        place = _override(document, key, parsed)
        document.texts |= {place + inside: written for inside, written in texts.items()}


def _override(document: Document, key: str, value: Any) -> str:
    """Lay one value into ``document``; returns the path at which it then stands."""
    axis = key.removeprefix("sweep.")
    parts = key.split(".")
    inside: Any = document.data
    for number, part in enumerate(parts[:-1]):
        inside = inside.get(part) if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            document.places[_path(parts[: number + 1])] = "--set"
    if key == "sweep" and value == {}:
        document.data.pop("sweep", None)
    elif axis == key:
        drop_axes(document, key)
        set_path(document.data, key, value)
    else:
        drop_axes(document, axis)
        _drop(document, axis)
        sweep = document.data.get("sweep")
        document.data["sweep"] = {**(sweep if isinstance(sweep, dict) else {}), axis: value}
        parts = ["sweep", axis]
    forget(document, _path(parts))
    document.places[_path(parts)] = "--set"
    return _path(parts)


def _path(parts: Iterable[str]) -> str:
    return functools.reduce(child, parts, "")


def drop_axes(document: Document, key: str) -> None:
    """Remove ``key``, what lies inside it and its alternative from the sweep."""
    sweep = document.data.get("sweep")
    if not isinstance(sweep, dict):
        return
    for axis in list(sweep):
        if axis in (key, alternative(key)) or axis.startswith(f"{key}."):
            del sweep[axis]
            forget(document, child("sweep", axis))
    if not sweep:
        del document.data["sweep"]


def _drop(document: Document, key: str) -> None:
    """Remove ``key`` and its alternative from the study's own values."""
    for path in (key, alternative(key)):
        if path and holds(document.data, path):
            *parents, last = path.split(".")
            data = document.data
            for parent in parents:
                data = data[parent]
            del data[last]
            forget(document, path)


def forget(document: Document, path: str) -> None:
    """Forget where, and how, ``path`` and what lies inside it were written."""
    for known in (document.places, document.texts):
        for place in list(known):
            if place == path or place.startswith((f"{path}.", f"{path}[")):
                del known[place]
