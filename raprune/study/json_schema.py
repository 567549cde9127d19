"""The study file as JSON Schema (2020-12), for editors: keys with their meaning, unit, type, range and default.

It is made of the settings classes and the plug-ins, so it is right for the version that prints it. What it refuses
:func:`raprune.study.load_study` refuses too. The loader refuses more: what needs the data or the network, most rules of
several settings, a matched method that no trial uses, ``1.0`` in place of ``1``, and what only YAML text can hold.
"""

from __future__ import annotations

from raprune.study.json_plugins import plugin_schema
from raprune.study.json_rules import rules
from raprune.study.json_settings import Schema, partial, settings_schema
from raprune.study.json_sweep import plain_keys, sweep_schema
from raprune.study.presets import COMMON
from raprune.study.rehearsal import KEY as REHEARSAL
from raprune.study.schema import PLUGIN_KEYS, StudySpec, TrialSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> Schema:
    """The schema of a study file, plain data."""
    study, trial = settings_schema(StudySpec), settings_schema(TrialSpec)["properties"]
    keys = {key: partial(trial[key]) for key in plain_keys()}
    keys |= {kind: {**_reference(kind), **_default(kind)} for kind in PLUGIN_KEYS}
    in_small = {
        "description": "What is smaller with --rehearse: keys of the study, laid over its own.",
        "type": "object",
        "properties": {
            **{key: partial(value) for key, value in study["properties"].items()},
            **keys,
            "sweep": _reference("sweep"),
        },
        "additionalProperties": False,
    }
    sweep = {**_reference("sweep"), "minProperties": 1}
    return {
        "$schema": DIALECT,
        "title": "A study of raprune",
        "type": "object",
        "properties": {**study["properties"], **keys, "sweep": sweep, REHEARSAL: in_small},
        "required": study["required"],
        "additionalProperties": False,
        "allOf": list(rules()),
        "$defs": {
            "sweep": sweep_schema(),
            **{kind: plugin_schema(kind) for kind in PLUGIN_KEYS},
            "swept_method": plugin_schema("method", swept=True),
        },
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _default(kind: str) -> Schema:
    return {"default": COMMON[kind]["name"]} if kind in COMMON else {}
