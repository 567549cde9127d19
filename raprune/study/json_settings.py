"""One settings class as JSON Schema, from its pydantic model: what a field means, its type, range and default.

Nested settings stand inside, null is left out (a study file has none), and so are the titles that pydantic makes of
names. Only keywords that editors of draft 7 know as well are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

ANY_VALUE: Schema = {"type": ["string", "number", "boolean", "array", "object"]}
"""Whatever a study file can hold."""
NULL: Schema = {"type": "null"}


def settings_schema(model: type[BaseModel]) -> Schema:
    """All that is required and all that is allowed of ``model``."""
    found = model.model_json_schema()
    return _plain(found, found.get("$defs", {}))


def partial(schema: Mapping[str, Any]) -> Schema:
    """``schema`` where only a part is written, the rest lies under it: nothing is required."""
    out = {key: value for key, value in schema.items() if key not in ("required", "minProperties")}
    if "properties" in out:
        out["properties"] = {key: partial(value) for key, value in out["properties"].items()}
    if "anyOf" in out:
        out["anyOf"] = [partial(option) for option in out["anyOf"]]
    return out


def requirements(schema: Mapping[str, Any]) -> Schema:
    """What :func:`partial` leaves out, alone; empty where that is nothing."""
    out: Schema = {key: schema[key] for key in ("required", "minProperties") if schema.get(key)}
    inside = {key: requirements(value) for key, value in schema.get("properties", {}).items()}
    if inside := {key: value for key, value in inside.items() if value}:
        out["properties"] = inside
    return out


def constraints(schema: Any) -> Any:
    """``schema`` without what only people read."""
    if isinstance(schema, list):
        return [constraints(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: constraints(value) for key, value in schema.items() if key not in ("description", "default")}
    if "properties" in schema:  # their names are no keywords
        out["properties"] = {key: constraints(value) for key, value in schema["properties"].items()}
    return out


def text(description: str) -> str:
    """A docstring as Markdown in one line."""
    return " ".join(description.split()).replace("``", "`")


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    """``schema`` with what it refers to written out."""
    out = {key: value for key, value in schema.items() if key not in ("$defs", "$ref", "title", "anyOf", "properties")}
    if "$ref" in schema:
        out = {**_plain(defs[schema["$ref"].rpartition("/")[2]], defs), **out}
    if "description" in out:
        out["description"] = text(out["description"])
    if "default" in out and (out["default"] is None or isinstance(out["default"], dict)):
        del out["default"]
    if isinstance(out.get("items"), dict):
        out["items"] = _plain(out["items"], defs)
    if "properties" in schema:
        out["properties"] = {key: _plain(value, defs) for key, value in schema["properties"].items()}
    options = [_plain(option, defs) for option in schema.get("anyOf", []) if option != NULL]
    if len(options) == 1:
        return {**options[0], **out}
    return {"anyOf": options, **out} if options else out
