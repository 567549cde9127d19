"""How a study file may name a plug-in, as JSON Schema: by its name, or by a mapping with the settings of exactly it.

Four forms: ``agent``; ``{name: agent, hidden: 32}``; ``{hidden: 32}``, laid over what is named elsewhere (a default, a
study under its rehearsal, an axis of the sweep); ``{import: package.module:function}`` with any settings.
"""

from __future__ import annotations

from typing import Any

from raprune.registry import KINDS, Plugin
from raprune.study.json_settings import ANY_VALUE, Schema, settings_schema, text
from raprune.study.plugins import IMPORTABLE, TRACING
from raprune.study.schema import ModelChoice, TrialSpec

IMPORT: Schema = {
    "type": "string",
    "pattern": "^[^:]+:[^:]+$",
    "description": "A function of your own, `package.module:function`; other keys are its arguments.",
}
UNNAMED: Schema = {"type": "object", "properties": {"name": False, "import": False}}
"""A mapping that says nothing of which plug-in it is for."""


def settings_of(plugin: Plugin) -> Schema:
    """The keys that may stand beside the plug-in's name, and which of them must."""
    found = settings_schema(plugin.settings)
    properties = {**found.get("properties", {}), **(_tracing() if plugin.kind == "model" else {})}
    return {"properties": properties, "required": found.get("required", [])}


def known_settings(kind: str) -> Schema:
    """Every key that some plug-in of this kind has, with each form in which one of them has it."""
    forms: dict[str, list[Schema]] = {}
    for plugin in KINDS[kind]:
        for key, form in settings_of(plugin)["properties"].items():
            if form not in forms.setdefault(key, []):
                forms[key].append(form)
    return {
        key: found[0] if len(found) == 1 else {"anyOf": found, "description": found[0]["description"]}
        for key, found in forms.items()
    }


def plugin_schema(kind: str, *, swept: bool = False) -> Schema:
    """A plug-in of this kind in a study file; ``swept``: as a value of the sweep, where ``match`` may stand."""
    by_name = {
        "enum": KINDS[kind].names(),
        "enumDescriptions": [text(plugin.summary) for plugin in KINDS[kind]],
    }
    named = [_named(plugin, swept) for plugin in KINDS[kind]]
    described = text(TrialSpec.model_fields[kind].description or "")
    return {"description": described, "anyOf": [by_name, *named, *_not_named(kind)]}


def _named(plugin: Plugin, swept: bool) -> Schema:
    properties: Schema = {"name": {"const": plugin.name, "description": text(plugin.summary)}}
    properties |= settings_of(plugin)["properties"]
    if swept and plugin.declared["ranks"]:
        described = "Another method of the study: prunes every layer to its num_kept, without search."
        properties["match"] = {"enum": KINDS[plugin.kind].names(), "description": described}
    return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def _not_named(kind: str) -> list[Schema]:
    """The forms without a name of ours. Where the plug-in may be a user's own, any key can be one of its settings."""
    known = known_settings(kind)
    if kind not in IMPORTABLE:
        return [{"type": "object", "properties": known, "additionalProperties": False}]
    own = _tracing() if kind == "model" else {}
    offered: dict[str, Any] = {key: own.get(key, ANY_VALUE) for key in known}
    imported = {
        "type": "object",
        "properties": {"import": IMPORT, "name": False, **own},
        "required": ["import"],
        "additionalProperties": ANY_VALUE,
    }
    laid_over = {**UNNAMED, "properties": {**offered, **UNNAMED["properties"]}, "additionalProperties": ANY_VALUE}
    return [imported, laid_over]


def _tracing() -> Schema:
    """The keys that every model has."""
    properties: Schema = settings_schema(ModelChoice)["properties"]
    return {key: properties[key] for key in TRACING}
