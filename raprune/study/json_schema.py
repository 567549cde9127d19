"""The study file as JSON Schema (2020-12), for editors: keys with their meaning, unit, type, range and default.

It is built from pydantic's schemas of the settings classes, so it is right for the version that prints it. What it
refuses :func:`raprune.study.load_study` refuses too. The loader refuses more: what needs the data or the network, most
rules of several settings, a matched method that no trial uses, ``1.0`` in place of ``1``, and what only YAML text can
hold. Only keywords that editors of draft 7 know as well are used.

A plug-in has four forms: ``agent``; ``{name: agent, hidden: 32}``; ``{hidden: 32}``, laid over what is named elsewhere
(a default, a study under its rehearsal, an axis of the sweep); ``{import: package.module:function}`` with any settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from raprune.registry import KINDS, Plugin
from raprune.study.json_schema_words import Schema, at, has, is_called, mapping, no_axis, under, when
from raprune.study.overrides import alternative
from raprune.study.plugins import IMPORTABLE, TRACING
from raprune.study.presets import COMMON, PRESETS
from raprune.study.rehearsal import KEY as REHEARSAL
from raprune.study.schema import PLUGIN_KEYS, TRIAL_KEYS, ModelChoice, StudySpec, TrialSpec

PLAIN_KEYS = [key for key in TRIAL_KEYS if key not in PLUGIN_KEYS]
REQUIRED = ("required", "minProperties")
"""What does not hold where only a part is written and the rest lies under it."""
ANY_VALUE: Schema = {"type": ["string", "number", "boolean", "array", "object"]}
"""Whatever a study file can hold."""
OWN_FUNCTION = "A function of your own, `package.module:function`; other keys are its arguments."
IMPORT: Schema = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": OWN_FUNCTION}
NAMED: Schema = {"anyOf": [{"type": "string"}, {"required": ["name"]}, {"required": ["import"]}]}
"""A plug-in that says which it is."""
UNNAMED: Schema = {"type": "object", "properties": {"name": False, "import": False}}
"""A mapping that does not say which plug-in it is for."""


def study_schema() -> Schema:
    """The schema of a study file, as plain data."""
    study, trial = settings_schema(StudySpec), settings_schema(TrialSpec)["properties"]
    keys = {key: _without(trial[key], *REQUIRED) for key in PLAIN_KEYS}
    for kind in PLUGIN_KEYS:
        keys[kind] = {"$ref": f"#/$defs/{kind}"} | ({"default": COMMON[kind]["name"]} if kind in COMMON else {})
    keys |= _study_plugins(study["properties"])
    keys["sweep"] = {"$ref": "#/$defs/sweep"}
    described = "What is smaller with --rehearse: keys of the study, laid over its own."
    in_small = mapping({**_without(study, *REQUIRED)["properties"], **keys}, description=described)
    keys |= {"sweep": {**keys["sweep"], "minProperties": 1}, REHEARSAL: in_small}
    defs = {kind: _plugin_schema(trial, kind) for kind in PLUGIN_KEYS}
    defs |= {kind: {"anyOf": _named_plugins(kind)} for kind in ("tracker", "scheduler", "sampler")}
    defs |= {"sweep": _sweep_schema(trial), "swept_method": _plugin_schema(trial, "method", swept=True)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of raprune",
        **mapping({**study["properties"], **keys}, required=study["required"]),
        "allOf": list(_rules(trial)),
        "$defs": defs,
    }


def _study_plugins(study: Schema) -> Schema:
    """The keys of a study, not of a trial, that name plug-ins."""

    def of(kind: str, described: Schema) -> Schema:
        return {"$ref": f"#/$defs/{kind}", "description": described["description"]}

    trackers = {"type": "array", "items": {"$ref": "#/$defs/tracker"}, "description": study["trackers"]["description"]}
    inside = study["search"]["properties"]
    search = {**study["search"], "properties": {**inside, "sampler": of("sampler", inside["sampler"])}}
    return {"trackers": trackers, "scheduler": of("scheduler", study["scheduler"]), "search": search}


def settings_schema(model: type[BaseModel]) -> Schema:
    """All that is required and all that is allowed of ``model``, nested settings written out."""
    found = model.model_json_schema(schema_generator=_WithoutNull)
    defs = found.pop("$defs", {})

    def plain(schema: Schema) -> Schema:
        schema = {**defs.get(schema.pop("$ref", "").rpartition("/")[2], {}), **schema}
        if "description" in schema:
            schema["description"] = text(schema["description"])
        if schema.get("default") is None or isinstance(schema["default"], dict):
            schema.pop("default", None)
        return {key: value for key, value in schema.items() if key != "title"}  # which pydantic makes of the name

    return dict(_each(found, plain))


class _WithoutNull(GenerateJsonSchema):
    """pydantic's own, without null: a study file has none."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return dict(self.generate_inner(schema["schema"]))


def _each(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """``schema`` after ``change``, and so every schema inside it."""
    if not isinstance(schema, dict):
        return schema
    out = change(dict(schema))
    if "properties" in out:
        out["properties"] = {key: _each(value, change) for key, value in out["properties"].items()}
    if "anyOf" in out:
        out["anyOf"] = [_each(option, change) for option in out["anyOf"]]
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = _each(out[key], change)
    return out


def _without(schema: Any, *keywords: str) -> Any:
    return _each(schema, lambda inner: {key: value for key, value in inner.items() if key not in keywords})


def _requirements(schema: Mapping[str, Any]) -> Schema:
    """What ``REQUIRED`` says in ``schema``, alone; empty where that is nothing."""
    inside = {key: found for key, value in schema.get("properties", {}).items() if (found := _requirements(value))}
    out = {key: schema[key] for key in REQUIRED if schema.get(key)}
    return out | ({"properties": inside} if inside else {})


def text(description: str) -> str:
    """A docstring as Markdown in one line."""
    return " ".join(description.split()).replace("``", "`")


def _plugin_schema(trial: Schema, kind: str, *, swept: bool = False) -> Schema:
    """A plug-in of this kind in a trial's keys; ``swept``: as a value of the sweep, where ``match`` may stand."""
    return {"description": trial[kind]["description"], "anyOf": [*_named_plugins(kind, swept), *_not_named(kind)]}


def _named_plugins(kind: str, swept: bool = False) -> list[Schema]:
    """The forms with a name of ours."""
    names = {"enum": KINDS[kind].names(), "enumDescriptions": [text(plugin.summary) for plugin in KINDS[kind]]}
    named = []
    for plugin in KINDS[kind]:
        name = {"const": plugin.name, "description": text(plugin.summary)}
        properties = {"name": name, **_settings_of(plugin)["properties"]}
        if swept and plugin.declared["ranks"]:
            described = "Another method of the study: prunes every layer to its num_kept, without search."
            properties["match"] = {"enum": KINDS[kind].names(), "description": described}
        named.append(mapping(properties, required=["name"]))
    return [names, *named]


def _not_named(kind: str) -> list[Schema]:
    """The forms without a name of ours. Where the plug-in may be a user's own, any key can be one of its settings."""
    known = _known_settings(kind)
    if kind not in IMPORTABLE:
        return [mapping(known)]
    own = {key: known[key] for key in TRACING if key in known}
    imported = mapping({"import": IMPORT, "name": False, **own}, ANY_VALUE, required=["import"])
    return [imported, mapping({**dict.fromkeys(known, ANY_VALUE), **own, **UNNAMED["properties"]}, ANY_VALUE)]


def _settings_of(plugin: Plugin) -> Schema:
    """The keys that may stand beside the plug-in's name, and which of them must."""
    found = settings_schema(plugin.settings)
    tracing = {key: settings_schema(ModelChoice)["properties"][key] for key in TRACING if plugin.kind == "model"}
    return {"properties": found["properties"] | tracing, "required": found.get("required", [])}


def _known_settings(kind: str) -> Schema:
    """Every key that some plug-in of this kind has, with each form in which one of them has it."""
    forms: dict[str, list[Schema]] = {}
    for plugin in KINDS[kind]:
        for key, form in _settings_of(plugin)["properties"].items():
            if form not in forms.setdefault(key, []):
                forms[key].append(form)
    return {
        key: found[0] if len(found) == 1 else {"anyOf": found, "description": found[0]["description"]}
        for key, found in forms.items()
    }


def _sweep_schema(trial: Schema) -> Schema:
    """The sweep: every axis by its path, ``finetune.learning_rate``, with a list of the values of its key."""
    axes = {path: _axis(values) for key in PLAIN_KEYS for path, values in _paths(key, trial[key])}
    for kind in PLUGIN_KEYS:
        described = {"description": trial[kind]["description"]}
        axes[kind] = _axis({"$ref": f"#/$defs/{'swept_method' if kind == 'method' else kind}", **described})
        axes[f"{kind}.name"] = _axis({"enum": KINDS[kind].names(), **described})
        for path, values in _known_axes(kind).items():
            axes[path] = values | ({"items": ANY_VALUE} if kind in IMPORTABLE else {})
        if kind in IMPORTABLE:
            axes[f"{kind}.import"] = _axis(IMPORT)
    meaning = "Keys of a trial with lists of values: every combination is a trial."
    own = rf"^({'|'.join(IMPORTABLE)})\.(?!name$|import$).*[^.]$"  # in a plug-in that may be a user's own
    return mapping(axes, description=meaning, patternProperties={own: _axis(ANY_VALUE)})


def _axis(values: Schema) -> Schema:
    """A list of values, each once; of one that is laid over another only a part need be there."""
    described = {"description": values["description"]} if "description" in values else {}
    items = _without(values, *REQUIRED)
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True, **described}


def _paths(path: str, values: Schema) -> Iterator[tuple[str, Schema]]:
    """``finetune``, ``finetune.momentum``, ... with the values each may take."""
    yield path, values
    for key, inside in values.get("properties", {}).items():
        yield from _paths(f"{path}.{key}", inside)


def _known_axes(kind: str) -> dict[str, Schema]:
    """The axes that set one setting of a plug-in of this kind."""
    return {f"{kind}.{key}": _axis(values) for key, values in _known_settings(kind).items()}


def _rules(trial: Schema) -> Iterator[Schema]:
    """What looks at more than one key. A value may come from an axis of the sweep, so most depend on the axes."""
    yield when(has("search"), at("sweep", False))
    yield when(has("drop_bound"), at("score_floor", False))
    yield when(no_axis("^(drop_bound|score_floor)$"), {"anyOf": [has("drop_bound"), has("score_floor")]})
    for key in PLAIN_KEYS:
        if needed := _requirements(trial[key]):
            yield from _complete(key, needed)
        yield from (_one_place(path) for path, _ in _paths(key, trial[key]))
    for kind in PLUGIN_KEYS:
        yield from _which(kind)
        yield from map(_one_place, (kind, f"{kind}.name", f"{kind}.import", *_known_axes(kind)))
        yield from map(_settings_of_it, KINDS[kind])
    for name in KINDS["method"].names():  # a method matched to this one needs it, itself not matched, beside it
        matched = {"type": "object", **has("match"), **at("match", {"const": name})}
        partner = {"allOf": [is_called(name), at("match", False)]}
        condition = {"allOf": [no_axis(r"^method\."), at("sweep.method", {"contains": matched})]}
        yield when(condition, at("sweep.method", {"contains": partner}))


def _complete(key: str, needed: Schema) -> Iterator[Schema]:
    """What is required inside ``key``, where no preset and no axis lies under or over it."""
    for preset, keys in PRESETS.items():
        inside = {k: rule for k, rule in needed.get("properties", {}).items() if k not in keys.get(key, {})}
        plain = {"allOf": [under(preset), no_axis(rf"^{key}(\.|$)")]}
        yield when(plain, at(key, {**needed, "properties": inside}))
    yield when(no_axis(rf"^{key}\."), at(f"sweep.{key}", {"items": needed}))


def _one_place(path: str) -> Schema:
    """A swept key has no value of its own, and no second axis says the same in another way."""
    nothing: Schema = at(path, False)
    if other := alternative(path):
        nothing = {"allOf": [nothing, at(other, False), at("sweep", {"properties": {other: False}})]}
    return when(has("sweep") | at("sweep", {"type": "object", **has(path)}), nothing)


def _which(kind: str) -> Iterator[Schema]:
    """Which plug-in it is must be said, where there is no default; the settings of ours are known."""
    if kind not in (*COMMON, "decision"):  # each method has its usual decision stage
        yield when(no_axis(rf"^{kind}(\.(name|import))?$"), has(kind) | at(kind, NAMED))
    if kind != "decision":
        yield when(no_axis(rf"^{kind}\.(name|import)$"), at(f"sweep.{kind}", {"items": NAMED}))
    if kind in IMPORTABLE:
        imported = {"type": "object", **has("import")}
        nowhere = [at(kind, {"not": imported}), at(f"sweep.{kind}", {"not": {"contains": imported}})]
        axes = {path: _without(values, "description", "default") for path, values in _known_axes(kind).items()}
        yield when({"allOf": [no_axis(rf"^{kind}\.import$"), *nowhere]}, at("sweep", _only(kind, axes)))
    required = {plugin.name: _settings_of(plugin)["required"] for plugin in KINDS[kind]}
    needs = [when(is_called(name), {"type": "object", **has(*keys)}) for name, keys in required.items() if keys]
    if needs:
        yield when(no_axis(rf"^{kind}\."), at(f"sweep.{kind}", {"items": {"allOf": needs}}))


def _settings_of_it(plugin: Plugin) -> Schema:
    """Where the study names this plug-in and no axis another: axes and the rehearsal have its settings."""
    kind, found = plugin.kind, _settings_of(plugin)
    properties = {key: _without(values, "description", "default") for key, values in found["properties"].items()}
    unnamed = when(UNNAMED, {"properties": properties, "propertyNames": {"enum": [*properties]}})
    axes = {f"{kind}.{key}": _axis(values) for key, values in properties.items()}
    then: list[Schema] = [at("sweep", _only(kind, axes)), at(f"rehearsal.{kind}", unnamed)]
    chosen = has(kind) | at(kind, is_called(plugin.name))
    defaults = {preset: {**COMMON, **keys}.get(kind, {}).get("name") for preset, keys in PRESETS.items()}
    if presets := [under(name) for name, default in defaults.items() if default == plugin.name]:
        chosen = {"anyOf": [chosen, {"allOf": [at(kind, UNNAMED), {"anyOf": presets}]}]}
        then.append(at(kind, unnamed))
    for key in found["required"]:  # an editor's message about a wrong type shows the title
        given = at(kind, {"type": "object", "title": f"{{name: {plugin.name}, {key}: ...}}", **has(key)})
        then.append(when(no_axis(rf"^{kind}\.{key}$"), has(kind) | given))
    return when({"allOf": [no_axis(rf"^{kind}(\.(name|import))?$"), chosen]}, {"allOf": then})


def _only(kind: str, axes: Mapping[str, Schema]) -> Schema:
    """A sweep whose axes inside ``kind`` are none but ``axes``."""
    known = "|".join([*(path.removeprefix(f"{kind}.") for path in axes), "name", "import"])
    return {"properties": axes, "patternProperties": {rf"^{kind}\.(?!({known})(\.|$))": False}}
