"""A study at small scale: its ``rehearsal`` block laid over the rest, so that the same layers run anywhere.

Mappings are merged key by key; a plug-in that the block names anew (``name`` or ``import``) replaces the study's own,
and so does a value or an axis of the sweep.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from raprune.errors import Problem, StudyError
from raprune.study.overrides import drop_axes, lay, path_of, within
from raprune.study.reader import Document
from raprune.study.wording import shown

KEY = "rehearsal"
SUFFIX = "-rehearsal"
IN_SMALL = "A rehearsal, at small scale and perhaps on other data, of:"
"""Begins the description, so that nobody mistakes its report for the study's."""


def rehearsed(document: Document, wanted: bool) -> Document:
    """``document`` without its rehearsal block, which is laid over the rest where it is ``wanted``.

    Raises :class:`StudyError` where a wanted block is missing.
    """
    block, name = document.data.get(KEY, {}), document.data.get("name")
    if wanted and KEY not in document.data:
        message = f"has no {KEY} block; add one that sets what is smaller (model, dataset, sweep, finetune, ...)"
        raise StudyError([Problem(document.name, "", message)])
    can_rehearse = isinstance(block, dict) and KEY in document.data and not wanted
    document = copy.deepcopy(replace(document, can_rehearse=can_rehearse))
    document.data.pop(KEY, None)
    if not isinstance(block, dict):
        document.problems.append(document.problem(KEY, f"must be a mapping of keys of the study; got {shown(block)}"))
    if not wanted or not isinstance(block, dict):
        return document
    if isinstance(described := document.data.get("description", name), str):
        document.data["description"] = f"{IN_SMALL} {described}".strip()
    if isinstance(name, str):
        document.data["name"] = name + SUFFIX
        document = replace(document, rehearses=name)
    for key in block:
        drop_axes(document, key)
    for keys, value in list(_laid(block, document.data)):
        old = path_of((KEY, *keys))
        lay(document, keys, value, within(document.places, old), within(document.texts, old))
    return document


def _laid(block: dict[str, Any], under: dict[str, Any], *keys: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys to each value of the block that replaces what is ``under`` it, if anything is."""
    for key, value in block.items():
        known = under.get(key)
        adds = isinstance(value, dict) and isinstance(known, dict | str) and not {"name", "import"} & value.keys()
        if adds and (value or isinstance(known, dict)):
            yield from _laid(value, known if isinstance(known, dict) else {}, *keys, key)
        else:
            yield (*keys, key), {"name": known} if adds else value
