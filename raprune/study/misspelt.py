"""Misspelt keys, found before any plug-in is imported: torch alone takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from raprune.errors import Problem, StudyError
from raprune.registry import nearest
from raprune.study.check import Checker, SettingsProblems
from raprune.study.expand import not_a_key
from raprune.study.reader import Document, child
from raprune.study.schema import PLUGIN_KEYS, STUDY_KEYS, TRIAL_KEYS, Choice, ModelChoice, StudySpec, TrialSpec
from raprune.study.sweep import axis_problem, read_sweep
from raprune.study.wording import model_in

REST = "names and settings of plug-ins, data and network are checked once every key is known"
FIELDS = {**StudySpec.model_fields, **TrialSpec.model_fields}
PLAIN = [key for key in (*STUDY_KEYS, *TRIAL_KEYS) if key in FIELDS and key not in PLUGIN_KEYS]


def refuse_misspelt(document: Document) -> None:
    """Raise :class:`StudyError` if ``document`` has keys that no study has, with what is wrong beside them.

    Keys inside plug-ins are left to :func:`raprune.study.load_study`, which finds these too.
    """
    wrong = dict(_misspelt(document.data))
    if not wrong:
        return
    checker = Checker(document)
    for path, message in wrong.items():
        checker.complain(path, message)
    _check_values(document.data, checker)
    raise StudyError([*checker.problems, Problem("", "", REST)])


def _misspelt(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and message of each unknown key outside plug-ins and the rehearsal."""
    for key, value in data.items():
        if key not in (*STUDY_KEYS, *TRIAL_KEYS):
            yield child("", key), not_a_key(key)
        elif key in PLAIN:
            yield from _inside(key, value, FIELDS[key].annotation)
    sweep = data.get("sweep")
    for axis in sweep if isinstance(sweep, dict) else ():
        if problem := axis_problem(axis):
            yield child("sweep", axis), problem


def _inside(path: str, value: object, annotation: object) -> Iterator[tuple[str, str]]:
    model: type[BaseModel] | None = model_in(annotation)
    if model is None or issubclass(model, Choice) or not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key not in model.model_fields:
            yield child(path, key), f"is not a key here{nearest(key, list(model.model_fields))}"
        else:
            yield from _inside(child(path, key), inner, model.model_fields[key].annotation)


def _check_values(data: Mapping[str, Any], checker: Checker) -> None:
    """Report wrong values of the plain keys of a trial and its sweep; plug-ins are stood in for."""
    read_sweep(checker.document, checker)
    stand_ins: dict[str, Any] = {key: Choice(name="?") for key in PLUGIN_KEYS} | {"model": ModelChoice(name="?")}
    plain = {key: _known(value, FIELDS[key].annotation) for key, value in data.items() if key in TrialSpec.model_fields}
    plain = {key: value for key, value in plain.items() if key not in PLUGIN_KEYS}
    bound = {} if {"drop_bound", "score_floor"} & plain.keys() else {"drop_bound": 1.0}
    SettingsProblems(checker, {}).validate(TrialSpec, {"study": "?", **stand_ins, **bound, **plain})


def _known(value: Any, annotation: object) -> Any:
    """``value`` without the keys that have been reported."""
    model = model_in(annotation)
    if model is None or not isinstance(value, dict):
        return value
    fields = model.model_fields
    return {key: _known(inner, fields[key].annotation) for key, inner in value.items() if key in fields}
