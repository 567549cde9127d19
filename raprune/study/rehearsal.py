"""A study at small scale: its ``rehearsal`` block laid over the rest, so that the same layers run anywhere.

Mappings are merged key by key; a plug-in that the block names anew (``name`` or ``import``) replaces the study's own,
and so does a value or an axis of the sweep.
"""

from __future__ import annotations

from typing import Any

from raprune.errors import Problem, StudyError
from raprune.study.overrides import alternative, drop_axes, forget, holds
from raprune.study.reader import Document, child
from raprune.study.wording import shown

KEY = "rehearsal"
SUFFIX = "-rehearsal"
IN_SMALL = "A rehearsal, at small scale and perhaps on other data, of:"
"""Begins the description, so that nobody mistakes its report for the study's."""


def take_rehearsal(document: Document, wanted: bool) -> None:
    """Remove the block from ``document``, and lay it over the rest where it is ``wanted``.

    Raises :class:`StudyError` where a wanted block is missing.
    """
    has_block = KEY in document.data
    block = document.data.pop(KEY, None)
    if has_block and not isinstance(block, dict):
        document.problems.append(document.problem(KEY, f"must be a mapping of keys of the study; got {shown(block)}"))
        return
    document.can_rehearse = isinstance(block, dict) and not wanted
    if not wanted:
        return
    if block is None:
        message = f"has no {KEY} block; add one that sets what is smaller (model, dataset, sweep, finetune, ...)"
        raise StudyError([Problem(document.name, "", message)])
    name = document.data.get("name")
    if isinstance(name, str):
        document.data["name"] = name + SUFFIX
        document.rehearses = name
    if isinstance(described := document.data.get("description", name), str):
        document.data["description"] = f"{IN_SMALL} {described}".strip()
    _lay(document, document.data, block, "")


def _lay(document: Document, data: dict[str, Any], block: dict[str, Any], under: str) -> None:
    for key, value in block.items():
        path = child(under, key)
        if under != "sweep":
            drop_axes(document, path)
        known = data.get(key)
        if isinstance(known, str) and isinstance(value, dict) and not _names_plugin(value):
            known = data[key] = {"name": known}
        if isinstance(known, dict) and isinstance(value, dict) and not _names_plugin(value):
            _lay(document, known, value, path)
            continue
        other = alternative(key)
        if other and holds(data, other):
            del data[other]
            forget(document, child(under, other))
        data[key] = value
        forget(document, path)
        _move_places(document, child(KEY, path) if not path.startswith("'") else KEY, path)


def _names_plugin(value: dict[str, Any]) -> bool:
    return "name" in value or "import" in value


def _move_places(document: Document, old: str, new: str) -> None:
    """Let problems name the place and the wording of what was written in the block."""
    for known in (document.places, document.texts):
        for place, written in list(known.items()):
            if place == old or place.startswith((f"{old}.", f"{old}[")):
                known[new + place[len(old) :]] = written
