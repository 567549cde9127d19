"""What a study file must hold and what excludes what, as JSON Schema: rules that look at more than one key.

A value may come from an axis of the sweep, so nearly every rule depends on which axes there are. A rule never refuses
what :func:`raprune.study.load_study` takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from raprune.registry import KINDS, Plugin
from raprune.study.json_plugins import UNNAMED, settings_of
from raprune.study.json_settings import Schema, constraints, requirements, settings_schema
from raprune.study.json_sweep import axis, known_axes, plain_axes, plain_keys
from raprune.study.overrides import alternative
from raprune.study.plugins import IMPORTABLE
from raprune.study.presets import COMMON, PRESETS
from raprune.study.schema import PLUGIN_KEYS, TrialSpec

BOUNDS = ["drop_bound", "score_floor"]
NAMED: Schema = {"anyOf": [{"type": "string"}, {"required": ["name"]}, {"required": ["import"]}]}
"""A plug-in that says which it is."""


def rules() -> Iterator[Schema]:
    """All of them, for the study file as a whole."""
    yield from _bounds()
    for key in plain_keys():
        yield from _complete(key)
        for path, _ in plain_axes(key):
            yield from _one_place(path)
    for kind in PLUGIN_KEYS:
        yield from _which(kind)
        for path in (kind, f"{kind}.name", f"{kind}.import", *known_axes(kind)):
            yield from _one_place(path)
        for plugin in KINDS[kind]:
            yield _settings_of_it(plugin)
    yield from map(_matched, KINDS["method"].names())


def no_axis(pattern: str) -> Schema:
    """The study sweeps nothing of which the path matches."""
    return at("sweep", {"propertyNames": {"not": {"pattern": pattern}}})


def at(path: str, inner: Any) -> Schema:
    """``inner`` holds for what stands at ``a.b.c``, if anything does."""
    return reduce(lambda inside, key: {"properties": {key: inside}}, reversed(path.split(".")), inner)


def has(*keys: str) -> Schema:
    return {"required": list(keys)}


def _bounds() -> Iterator[Schema]:
    """One bound, here or in the sweep."""
    yield {"if": has(BOUNDS[0]), "then": at(BOUNDS[1], False)}
    yield {"if": no_axis(f"^({'|'.join(BOUNDS)})$"), "then": {"anyOf": [has(bound) for bound in BOUNDS]}}


def _complete(key: str) -> Iterator[Schema]:
    """What is required inside ``key``, where no preset and no axis lies under or over it."""
    needed = requirements(settings_schema(TrialSpec)["properties"][key])
    if not needed:
        return
    for preset, under in PRESETS.items():
        chosen: Schema = {"properties": {"preset": {"const": preset}}, **({} if preset == "default" else has("preset"))}
        inside = {name: rule for name, rule in needed.get("properties", {}).items() if name not in under.get(key, {})}
        condition = {"allOf": [chosen, no_axis(rf"^{key}(\.|$)")]}
        yield {"if": condition, "then": at(key, {**needed, "properties": inside})}
    yield {"if": no_axis(rf"^{key}\."), "then": at(f"sweep.{key}", {"items": needed})}


def _one_place(path: str) -> Iterator[Schema]:
    """A swept key has no value of its own, and no second axis says the same in another way."""
    other = alternative(path)
    nothing: Schema = at(path, False)
    if other:
        nothing = {"allOf": [nothing, at(other, False), {"properties": {"sweep": {"properties": {other: False}}}}]}
    yield {"if": {"required": ["sweep"], "properties": {"sweep": {"type": "object", **has(path)}}}, "then": nothing}


def _which(kind: str) -> Iterator[Schema]:
    """Which plug-in it is must be said, where there is no default; the settings of ours are known."""
    names = rf"^{kind}\.(name|import)$"
    if kind not in COMMON:
        yield {"if": no_axis(rf"^{kind}(\.(name|import))?$"), "then": {**has(kind), **at(kind, NAMED)}}
    yield {"if": no_axis(names), "then": at(f"sweep.{kind}", {"items": NAMED})}
    if kind in IMPORTABLE:
        ours = {
            "allOf": [
                no_axis(rf"^{kind}\.import$"),
                at(kind, {"not": {"type": "object", **has("import")}}),
                at(f"sweep.{kind}", {"not": {"contains": {"type": "object", **has("import")}}}),
            ]
        }
        axes = constraints(known_axes(kind))
        known = {"properties": axes, "patternProperties": {_other_than(kind, axes): False}}
        yield {"if": ours, "then": at("sweep", known)}
    lacking = {plugin.name: settings_of(plugin)["required"] for plugin in KINDS[kind]}
    needs = [
        {"if": _is(name), "then": {"type": "object", "required": required}}
        for name, required in lacking.items()
        if required
    ]
    if needs:
        yield {"if": no_axis(rf"^{kind}\."), "then": at(f"sweep.{kind}", {"items": {"allOf": needs}})}


def _matched(name: str) -> Schema:
    """A method that is matched to ``name`` needs ``name``, itself not matched, beside it."""
    has_match = {"type": "object", "required": ["match"], **at("match", {"const": name})}
    partner = {"allOf": [_is(name), at("match", False)]}
    condition = {"allOf": [no_axis(r"^method\."), at("sweep.method", {"contains": has_match})]}
    return {"if": condition, "then": at("sweep.method", {"contains": partner})}


def _settings_of_it(plugin: Plugin) -> Schema:
    """Where the study names this plug-in and no axis another: axes and the rehearsal have its settings."""
    kind, found = plugin.kind, settings_of(plugin)
    properties = {key: constraints(values) for key, values in found["properties"].items()}
    is_default = COMMON.get(kind, {}).get("name") == plugin.name
    chosen: Schema = at(kind, {"anyOf": [_is(plugin.name), *([UNNAMED] if is_default else [])]})
    if not is_default:
        chosen |= has(kind)
    axes = {f"{kind}.{key}": axis(values) for key, values in properties.items()}
    unnamed = {"if": UNNAMED, "then": {"properties": properties, "propertyNames": {"enum": [*properties]}}}
    then: list[Schema] = [
        at("sweep", {"properties": axes, "patternProperties": {_other_than(kind, axes): False}}),
        at(f"rehearsal.{kind}", unnamed),
        *([at(kind, unnamed)] if is_default else []),
    ]
    for key in found["required"]:
        form = f"{{name: {plugin.name}, {key}: ...}}"  # an editor's message about a wrong type shows the title
        given = {**has(kind), **at(kind, {"type": "object", "title": form, **has(key)})}
        then.append({"if": no_axis(rf"^{kind}\.{key}$"), "then": given})
    return {"if": {"allOf": [no_axis(rf"^{kind}(\.(name|import))?$"), chosen]}, "then": {"allOf": then}}


def _is(name: str) -> Schema:
    """The plug-in called ``name``, in either form."""
    return {"anyOf": [{"const": name}, {"type": "object", **has("name"), **at("name", {"const": name})}]}


def _other_than(kind: str, axes: Sequence[str] | dict[str, Any]) -> str:
    """The axes inside ``kind`` that are none of ``axes``."""
    known = "|".join([*(path.removeprefix(f"{kind}.") for path in axes), "name", "import"])
    return rf"^{kind}\.(?!({known})(\.|$))"
