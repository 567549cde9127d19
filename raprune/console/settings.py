"""The settings of a plug-in for a person: each with its type, default and meaning, wrapped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from raprune.registry import Plugin
from raprune.study.json_schema import settings_schema, text
from raprune.study.wording import shown

WORDS = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "array": "list",
    "object": "mapping",
}  # fmt: skip
LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def settings_blocks(plugin: Plugin, width: int) -> Iterator[str]:
    """Lines of at most ``width`` columns: what the plug-in is, then a heading and the meaning of each setting."""
    yield from _wrapped(text(plugin.summary), "    ", width)
    forms = settings_schema(plugin.settings).get("properties", {})
    for key, field in plugin.settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "not set" if value is None else f"default {shown(value)}"
        yield from _wrapped(f"{key}: {kind_of(forms[key])}; {default}", "      ", width)
        yield from _wrapped(forms[key].get("description", ""), "          ", width)
    if (decision := plugin.declared.get("decision")) is not None:
        yield from _wrapped(f"where the trial names no decision: {decision}", "      ", width)


def kind_of(form: Mapping[str, Any]) -> str:
    """What a setting takes: ``whole number, at least 1``; ``one of a, b``; ``number or text``."""
    if "enum" in form:
        return f"one of {', '.join(str(value) for value in form['enum'])}"
    if "const" in form:
        return str(form["const"])
    if "anyOf" in form:
        return " or ".join(dict.fromkeys(kind_of(option) for option in form["anyOf"]))
    limits = [f"{words} {form[key]:g}" for key, words in LIMITS.items() if key in form]
    return ", ".join([WORDS.get(str(form.get("type")), "any value"), *limits])


def _wrapped(line: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        line.replace("`", ""), width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
