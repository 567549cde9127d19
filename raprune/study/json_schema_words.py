"""The words of which the JSON Schema of a study file is made: conditions on what stands where."""

from __future__ import annotations

from functools import reduce
from typing import Any

Schema = dict[str, Any]


def under(name: str) -> Schema:
    """A study under this preset."""
    chosen: Schema = at("preset", {"const": name})
    return chosen if name == "default" else chosen | has("preset")


def mapping(properties: Schema, others: Any = False, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": others, **more}


def is_called(name: str) -> Schema:
    """The plug-in called ``name``, in either form."""
    return {"anyOf": [{"const": name}, {"type": "object", **has("name"), **at("name", {"const": name})}]}


def when(condition: Schema, then: Schema) -> Schema:
    return {"if": condition, "then": then}


def has(*keys: str) -> Schema:
    return {"required": list(keys)}


def at(path: str, inner: Any) -> Any:
    """``inner`` holds for what stands at ``a.b.c``, if anything does."""
    return reduce(lambda inside, key: {"properties": {key: inside}}, reversed(path.split(".")), inner)


def no_axis(pattern: str) -> Any:
    """The study sweeps nothing whose path matches ``pattern``."""
    return at("sweep", {"propertyNames": {"not": {"pattern": pattern}}})
