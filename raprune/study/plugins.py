"""A plug-in as a study names it: by its name with its settings, or a user's own by ``import``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raprune.errors import InputError
from raprune.registry import KINDS, METHODS, is_imported
from raprune.study.check import Checker, SettingsProblems
from raprune.study.presets import DECISIONS_OF, PLUGIN_PRESETS
from raprune.study.reader import UNREADABLE, child
from raprune.study.schema import Choice, ModelChoice
from raprune.study.wording import shown

IMPORTABLE = ("model", "dataset", "score")
"""Kinds for which a study may name a user's own function."""
USUAL_SAMPLER = "optuna"
TRACING = tuple(key for key in ModelChoice.model_fields if key not in Choice.model_fields)
"""Keys of a model that say how it is traced, whichever it is."""

MOVED: dict[str, list[tuple[str | bool, str]]] = {
    "trim": [(True, "trim"), (False, "prefix")],
    "decision": [("bound", "trim"), ("reward", "reward"), ("ranked_reward", "{name: reward, prefixes: true}")],
}
"""Settings that methods had before decision stages were plug-ins -> their values, and the decision stage to write."""


def plugin_name(given: Any) -> str | None:
    """The name in a plug-in's part of a study."""
    name = given.get("import", given.get("name")) if isinstance(given, dict) else given
    return name if isinstance(name, str) else None


def import_paths(value: Any, key: str = "") -> Iterator[str]:
    """The import paths of a user's own code anywhere in a study's plain data, on axes of its sweep too."""
    if isinstance(value, dict):
        for inner, part in value.items():
            yield from import_paths(part, str(inner))
    elif isinstance(value, list):
        for item in value:
            yield from import_paths(item, key)
    elif isinstance(value, str) and key.rpartition(".")[2] == "import" and is_imported(value):
        yield value


def with_decision(given: Any, method: Any, preset: str) -> Any:
    """``given`` with a name: the decision stage that a trial names, or else the usual one of its method."""
    if given is not None and not (isinstance(given, dict) and given.keys().isdisjoint(("name", "import"))):
        return given
    name = plugin_name(method)
    usual = METHODS.get(name).declared["decision"] if name in METHODS.names() else "search"
    return {**(given or {}), "name": DECISIONS_OF[preset].get(name or "", usual)}


def choose(kind: str, given: Any, preset: str, place: SettingsProblems) -> Choice | None:
    """The plug-in that ``given`` names, with complete settings; what is wrong goes to ``place``."""
    if given is None:
        place.complain(kind, f"is required (known: {', '.join(KINDS[kind].names())})")
        return None
    name = plugin_name(given)
    if name is None:
        _complain_nameless(kind, given, place)
        return None
    if (message := _form_problem(kind, given, name)) is not None:
        place.complain(*message)
        return None
    try:
        plugin = KINDS[kind].get(name)
    except InputError as error:
        key = "import" if isinstance(given, dict) and "import" in given else "name"
        place.complain(kind if isinstance(given, str) else child(kind, key), str(error))
        return None
    own = {k: v for k, v in given.items() if k not in ("name", "import")} if isinstance(given, dict) else {}
    for key in MOVED if kind == "method" else ():
        if key in own and key not in plugin.settings.model_fields:
            _complain_moved(key, own.pop(key), place)
    tracing = {key: own.pop(key) for key in TRACING if key in own and kind == "model"}
    under = PLUGIN_PRESETS[preset].get((kind, name), {})
    settings = place.validate(plugin.settings, {**under, **own}, kind)
    if settings is None:
        return None
    if problems := settings.problems():
        for key, problem in problems:
            place.complain(child(kind, key), problem)
        place.checker.missing(settings.remedies())
        return None
    fields = {"name": name, "settings": settings.model_dump(mode="json"), **tracing}
    return place.validate(ModelChoice if kind == "model" else Choice, fields, kind)


def with_study_plugins(data: Mapping[str, Any], checker: Checker) -> dict[str, Any]:
    """A study's own keys with the plug-ins that they name; what is wrong with those goes to ``checker``."""
    data = dict(data)
    if isinstance(trackers := data.get("trackers"), list):
        found = [_chosen("tracker", one, child("trackers", i), checker) for i, one in enumerate(trackers)]
        data["trackers"] = [one for one in found if one is not None]
    if data.get("scheduler") is not None:
        data["scheduler"] = _chosen("scheduler", data["scheduler"], "scheduler", checker)
    if isinstance(search := data.get("search"), dict):  # its usual sampler must be installed, too
        sampler = _chosen("sampler", search.get("sampler", USUAL_SAMPLER), "search.sampler", checker)
        data["search"] = {**search, "sampler": sampler or Choice(name=USUAL_SAMPLER)}
    return data


def _chosen(kind: str, given: Any, path: str, checker: Checker) -> Choice | None:
    return choose(kind, given, "default", SettingsProblems(checker, {kind: path}))


def _complain_moved(key: str, value: Any, place: SettingsProblems) -> None:
    for old, new in MOVED[key]:
        if value is old or (isinstance(old, str) and value == old):
            place.complain(f"method.{key}", f"is not a key here; write decision: {new} beside method", unknown_key=True)
            return
    message = f"is not a key here; a decision stage ({', '.join(KINDS['decision'].names())}) is named beside method"
    place.complain(f"method.{key}", message, unknown_key=True)


def _complain_nameless(kind: str, given: Any, place: SettingsProblems) -> None:
    unreadable = given is UNREADABLE or (
        isinstance(given, dict) and UNREADABLE in (given.get("name"), given.get("import"))
    )
    place.sound = False
    if not unreadable:
        known = ", ".join(KINDS[kind].names())
        place.complain(kind, f"must be a name, or a mapping with a name (known: {known}); got {shown(given)}")


def _form_problem(kind: str, given: Any, name: str) -> tuple[str, str] | None:
    """What is wrong with how a plug-in is named, and where."""
    imports = isinstance(given, dict) and "import" in given
    if imports and "name" in given:
        return child(kind, "import"), "must not stand beside name; give one of the two"
    if imports and kind not in IMPORTABLE:
        folder = KINDS[kind].package.replace(".", "/")
        return child(kind, "import"), f"a {kind} is named, not imported; a file in {folder}/ adds one"
    if imports and name.count(":") != 1:
        return child(kind, "import"), f"must be package.module:function; got {shown(name)}"
    if not imports and ":" in name:
        path = child(kind, "name") if isinstance(given, dict) else kind
        return path, f"must be a known name; to use your own, write {{import: {name}}}"
    return None
