"""Texts of a study made safe to show in a page and its pictures: no control characters, bounded length.

The page escapes HTML; Matplotlib escapes what it writes into an SVG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pandas as pd

from raprune.results import Tables

UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, marks that change the direction of writing, half characters: no SVG text may hold them."""
LINES = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST = 300
"""Characters of a name, a method or a layer."""
WHOLE = ("layers", "error")
"""Columns that, like those of settings, are not cut: they are parsed, or shown over several lines."""


def harmless(tables: Tables) -> Tables:
    """The same tables, with texts that can be shown."""
    frames = {field.name: getattr(tables, field.name) for field in fields(tables) if field.name != "manifest"}
    manifest = {key: _deep(value) for key, value in tables.manifest.items()}
    return replace(tables, manifest=manifest, **{name: _frame(frame) for name, frame in frames.items()})


def shown(text: str, longest: int | None = LONGEST) -> str:
    """A text in one line, with control characters escaped, cut if it is too long."""
    text = UNSEEN.sub(_escaped, text)
    return text if longest is None or len(text) <= longest else f"{text[:longest]}…"


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column):
            texts = {value for value in column.array if isinstance(value, str)}  # a long table repeats a few
            if wrong := {text: safe for text in texts if (safe := _cell(text, name)) != text}:
                columns[name] = column.map(lambda value, wrong=wrong: _replaced(value, wrong))
    return frame.assign(**columns)


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    return texts.get(value, value) if isinstance(value, str) else value


def _cell(text: str, column: str) -> str:
    if column == "error":
        return LINES.sub(_escaped, text)
    return shown(text, None if column in WHOLE or column.endswith("_settings") else LONGEST)


def _deep(value: Any) -> Any:
    if isinstance(value, str):
        return LINES.sub(_escaped, value)
    if isinstance(value, dict):
        return {shown(str(key), None): _deep(inside) for key, inside in value.items()}
    return [_deep(item) for item in value] if isinstance(value, list) else value


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
