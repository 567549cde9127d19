"""The sweep of a study as JSON Schema: every axis that a study may have, with a list of the values of its key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raprune.registry import KINDS
from raprune.study.json_plugins import IMPORT, known_settings
from raprune.study.json_settings import ANY_VALUE, Schema, partial, settings_schema, text
from raprune.study.plugins import IMPORTABLE
from raprune.study.schema import PLUGIN_KEYS, TRIAL_KEYS, TrialSpec
from raprune.study.wording import model_in

OWN_SETTING = rf"^({'|'.join(IMPORTABLE)})\.(?!name$|import$).*[^.]$"
"""An axis inside a plug-in that may be a user's own."""


def axis(values: Schema) -> Schema:
    """A list of values, each once."""
    described = {"description": values["description"]} if "description" in values else {}
    return {"type": "array", "items": values, "minItems": 1, "uniqueItems": True, **described}


def sweep_schema() -> Schema:
    """The sweep: axes by their paths, ``finetune.learning_rate``."""
    axes: dict[str, Schema] = {}
    for key in plain_keys():
        axes |= {path: axis(partial(values)) for path, values in plain_axes(key)}
    for kind in PLUGIN_KEYS:
        meaning = {"description": text(TrialSpec.model_fields[kind].description or "")}
        axes[kind] = axis({"$ref": f"#/$defs/{'swept_method' if kind == 'method' else kind}", **meaning})
        axes[f"{kind}.name"] = axis({"enum": KINDS[kind].names(), **meaning})
        axes |= known_axes(kind)
        if kind in IMPORTABLE:
            axes |= {path: {**axes[path], "items": ANY_VALUE} for path in known_axes(kind)}
            axes[f"{kind}.import"] = axis(IMPORT)
    return {
        "description": "Keys of a trial with lists of values: every combination is a trial.",
        "type": "object",
        "properties": axes,
        "patternProperties": {OWN_SETTING: axis(ANY_VALUE)},
        "additionalProperties": False,
    }


def plain_keys() -> list[str]:
    """The keys of a trial that name no plug-in."""
    return [key for key in TRIAL_KEYS if key not in PLUGIN_KEYS]


def plain_axes(key: str) -> Iterator[tuple[str, Schema]]:
    """``finetune``, ``finetune.momentum``, ... with the values each may take."""
    yield from _inside(key, TrialSpec.model_fields[key].annotation, settings_schema(TrialSpec)["properties"][key])


def known_axes(kind: str) -> dict[str, Schema]:
    """The axes that set one setting of a plug-in of this kind."""
    return {f"{kind}.{key}": axis(partial(values)) for key, values in known_settings(kind).items()}


def _inside(path: str, annotation: Any, values: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, values
    if (model := model_in(annotation)) is not None:
        for key, field in model.model_fields.items():
            yield from _inside(f"{path}.{key}", field.annotation, values["properties"][key])
