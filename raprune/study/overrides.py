"""Values laid over values: a study over its preset, ``--set`` over a study, one point of the sweep over the rest."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raprune.errors import Problem, StudyError
from raprune.study.reader import Document, child, parse_scalar
from raprune.study.wording import shown

_PAIRS = (("epochs", "steps"), ("drop_bound", "score_floor"), ("name", "import"))
EITHER_OR = {key: other for pair in _PAIRS for key, other in (pair, pair[::-1])}
"""Two ways to say one thing: the upper layer's value replaces both."""


def set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings; a plug-in given by its bare name becomes ``{name: ...}`` on the way."""
    put(data, path.split("."), value)


def put(data: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """As :func:`set_path`, by the keys on the way."""
    *parents, last = keys
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


def overridden(document: Document, overrides: Iterable[str]) -> Document:
    """``document`` with ``a.b=value`` texts applied: a value replaces an axis of the sweep, an axis replaces a value,
    and ``sweep={}`` removes the whole sweep.

    Their problems are added to the document's.
    """
    document = copy.deepcopy(document)
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            document.problems.append(Problem("--set", "", f"must be key=value, such as seed=1; got {shown(text)}"))
            continue
        try:
            _override(document, key, *parse_scalar(value.strip(), key))
        except StudyError as error:
            document.problems.extend(Problem("--set", key, problem.message) for problem in error.problems)
    return document


def _override(document: Document, key: str, value: Any, texts: Mapping[str, str]) -> None:
    axis = key.removeprefix("sweep.")
    drop_axes(document, axis)
    keys = key.split(".")
    if axis != key:
        keys = ["sweep", axis]
        _drop(document, axis)
    inside: Any = document.data
    for number, parent in enumerate(keys[:-1], start=1):
        inside = inside.get(parent) if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            document.places[path_of(keys[:number])] = "--set"
    if axis != key and not isinstance(document.data.get("sweep"), dict):
        document.data["sweep"] = {}
    lay(document, keys, value, {"": "--set"}, texts)
    if key == "sweep" and value == {}:
        del document.data["sweep"]


def lay(
    document: Document, keys: Sequence[str], value: Any, places: Mapping[str, str], texts: Mapping[str, str]
) -> None:
    """Set the value at ``keys``; ``places`` and ``texts`` are its own, by their paths inside it."""
    path = path_of(keys)
    put(document.data, keys, value)
    forget(document, path)
    document.places.update({path + inside: place for inside, place in places.items()})
    document.texts.update({path + inside: text for inside, text in texts.items()})


def path_of(keys: Iterable[str]) -> str:
    """The YAML path of nested keys."""
    return functools.reduce(child, keys, "")


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
        for inside in within(known, path):
            del known[path + inside]


def within(known: Mapping[str, str], path: str) -> dict[str, str]:
    """What is known of ``path`` and of all inside it, by the paths from there."""
    ends = ((place.removeprefix(path), text) for place, text in known.items() if place.startswith(path))
    return {inside: text for inside, text in ends if inside[:1] in ("", ".", "[")}
