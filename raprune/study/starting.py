"""A first study file: the keys that people change, each with its meaning from the schema."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from raprune.errors import InputError, Problem, StudyError
from raprune.registry import KINDS, Plugin, no_imports
from raprune.study.bundled import bundled_studies
from raprune.study.json_schema import OWN_FUNCTION, settings_schema, text
from raprune.study.loading import expand
from raprune.study.overrides import overridden
from raprune.study.presets import COMMON, PRESETS
from raprune.study.reader import Document, parse_document, read_document
from raprune.study.schema import PLUGIN_KEYS, StudySpec, TrialSpec
from raprune.study.wording import shown

WIDTH = 96
"""Columns of a line."""
BARE = re.compile(r"[A-Za-z_](?:[\w./:-]*\w)?")
NOT_BARE = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
"""Words that YAML reads as something else than text."""
HEAD = "A study of raprune. Lines that begin with # are comments; a setting behind # has the value that it has anyway."
BOXES = {"torchvision_detection", "coco_detection", "hugging_face_detection", "voc_detection"}
"""Networks and data for detection of which none of our own studies is about."""
TRAINED = ("epochs", "learning_rate", "batch_size")
"""Settings of a baseline that is trained here."""


@dataclass(frozen=True)
class Start:
    """What a new study is about."""

    name: str
    model: str
    """A plug-in, or ``package.module:function``."""
    dataset: str
    """As ``model``."""
    score: str | None = None
    """By default what our own studies of this data set or this network use."""
    drop_bound: float = 2.0
    """Points of validation score."""
    checkpoint: str | None = None
    method: str | None = None


def needed(kind: str, name: str) -> dict[str, str]:
    """The settings without which a plug-in cannot be used, with their meanings; raises :class:`InputError` for an
    unknown name."""
    plugin = _plugin(kind, name)
    found = settings_schema(plugin.settings)
    return {key: found["properties"][key].get("description", "") for key in found.get("required", [])}


def starting_study(start: Start, overrides: Sequence[str] = ()) -> tuple[str, list[Problem]]:
    """The text of a study file, ``overrides`` (``a.b=value``) applied; and what is wrong with data that it names.

    Raises :class:`InputError` for an unknown plug-in or a setting that must be given, :class:`StudyError` for what no
    study may have. The reader's own code is not imported.
    """
    with no_imports():
        data = _keys(start)
        document = overridden(parse_document(json.dumps(data), "the new study"), overrides)
        for kind in ("model", "dataset"):
            _check_needed(kind, document.data[kind])
        written = _render(document.data)
        try:
            expand(parse_document(written, "the new study"))
        except StudyError as error:
            problems = [_placed(problem, document) for problem in error.problems]
            if document.problems or not error.ways_on:
                raise StudyError([*document.problems, *problems]) from None
            return written, problems
        if document.problems:
            raise StudyError(document.problems)
    return written, []


def _placed(problem: Problem, given: Document) -> Problem:
    """A problem of the text to be written, at its place in ``given``: ``--set``, or no line of a file not there yet."""
    return replace(problem, where="--set" if given.where(problem.path) == "--set" else given.name)


def usual_score(model: str, dataset: str) -> str:
    """The score of our own studies of this data set or this network."""
    common = str(COMMON["score"]["name"])
    if {model, dataset} & BOXES:
        return "mean_average_precision"
    for names, score in _own_scores():
        if score is not None and score != common and {model, dataset} & names:
            return score
    return common


@cache
def _own_scores() -> list[tuple[set[str | None], str | None]]:
    """Of each of our own studies the networks and data sets, and the score. To read them all takes a while."""
    found = []
    for file in bundled_studies().values():
        data = read_document(file).data
        parts = [data, data.get("rehearsal", {})]
        names = {_name(part.get(kind)) for part in parts for kind in ("model", "dataset")}
        found.append((names, _name(data.get("score"))))
    return found


def _name(given: Any) -> str | None:
    found = given.get("name") if isinstance(given, Mapping) else given
    return found if isinstance(found, str) else None


def _keys(start: Start) -> dict[str, Any]:
    method = start.method or str(COMMON["method"]["name"])
    score = start.score or usual_score(start.model, start.dataset)
    chosen = {"model": start.model, "dataset": start.dataset, "score": score, "method": method}
    parts: dict[str, dict[str, Any]] = {}
    for kind, name in chosen.items():
        _plugin(kind, name)
        parts[kind] = {"import": name} if ":" in name else {"name": name}
    baseline = TrialSpec.model_fields["baseline"].default
    trained = {key: getattr(baseline, key) for key in TRAINED}
    return {
        "name": start.name,
        "description": f"How far {start.model} can be pruned on {start.dataset}.",
        **{kind: parts[kind] for kind in ("model", "dataset", "score")},
        "baseline": trained if start.checkpoint is None else {"checkpoint": start.checkpoint},
        "drop_bound": start.drop_bound,
        "method": parts["method"],
        "candidates_per_layer": PRESETS["default"]["candidates_per_layer"],
        "finetune": {"after_layer": {"epochs": 1}, "at_end": {"epochs": 1}, "learning_rate": 0.01},
        "seed": 0,
        "evaluators": {"count": "auto"},
    }


def _plugin(kind: str, name: str) -> Plugin:
    return KINDS[kind].get(name)


def _check_needed(kind: str, given: Any) -> None:
    name = _name(given)
    if name is None:
        return
    for key, meaning in needed(kind, name).items():
        if not isinstance(given, Mapping) or key not in given:
            raise InputError(f"{kind} {name} needs {key} ({meaning.rstrip('.')}): give it with --set {kind}.{key}=...")


def _render(data: Mapping[str, Any]) -> str:
    known = {**settings_schema(StudySpec)["properties"], **settings_schema(TrialSpec)["properties"]}
    lines = list(_comment(HEAD, ""))
    for key, value in data.items():
        lines.append("")
        if key in PLUGIN_KEYS:
            lines += _comment(known[key].get("description", ""), "")
            lines += _plugin_lines(key, value)
        else:
            lines += _lines(key, value, known.get(key, {}), "")
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any, form: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A key below its meaning; a mapping with each of its keys."""
    yield from _comment(form.get("description", ""), indent)
    if not isinstance(value, Mapping) or not value:
        yield f"{indent}{key}: {_value(value)}"
        return
    yield f"{indent}{key}:"
    for inner, part in value.items():
        yield from _lines(inner, part, form.get("properties", {}).get(inner, {}), f"{indent}  ")


def _plugin_lines(kind: str, value: Any) -> Iterator[str]:
    """A plug-in with the settings that are given, and behind # those that are not."""
    given = dict(value) if isinstance(value, Mapping) else {"name": value}
    yield f"{kind}:"
    if "import" in given:
        yield from _comment(OWN_FUNCTION, "  ")
        yield f"  import: {_value(given.pop('import'))}"
        for key, own in given.items():
            yield from _comment("An argument of that function.", "  ")
            yield f"  {key}: {_value(own)}"
        return
    plugin = _plugin(kind, str(given["name"]))
    yield from _comment(text(plugin.summary), "  ")
    yield f"  name: {_value(given.pop('name'))}"
    forms = settings_schema(plugin.settings).get("properties", {})
    for key, field in plugin.settings.model_fields.items():
        yield from _comment(forms[key].get("description", ""), "  ")
        if key in given:
            yield f"  {key}: {_value(given.pop(key))}"
        else:
            default = field.get_default(call_default_factory=True)
            yield f"  # {key}: {'(not set)' if default is None else _value(default)}"
    for key, other in given.items():
        yield f"  {key}: {_value(other)}"


def _comment(meaning: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(meaning, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _value(value: Any) -> str:
    """A value as YAML in one line; JSON is YAML, and words need no quotes."""
    if isinstance(value, str) and BARE.fullmatch(value) and value.lower() not in NOT_BARE:
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return shown(value)
