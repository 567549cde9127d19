"""The problems of a document, each at the place of the value that caused it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from functools import partial, reduce
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from raprune.errors import Problem
from raprune.study.reader import UNREADABLE, Document, child
from raprune.study.schema import StudySpec
from raprune.study.wording import complaints

S = TypeVar("S", bound=BaseModel)


class Checker:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._problems = dict.fromkeys(document.problems)
        self.ways_on: list[str] = []
        """Commands that would work, where data are missing."""

    @property
    def problems(self) -> list[Problem]:
        """All problems, each once, by line."""
        return by_line(self._problems)

    def complain(self, path: str, message: str) -> None:
        self._problems[self.document.problem(path, message)] = None

    def missing(self, remedies: Iterable[str]) -> None:
        """Data are missing; ``remedies`` are the arguments with which the study would find them."""
        self.ways_on += self.document.commands(remedies)

    def study(self, data: dict[str, Any]) -> StudySpec | None:
        """The study's own keys, without the values that are wrong."""
        return SettingsProblems(self, {}).validate(StudySpec, data)


class SettingsProblems:
    """Problems of one trial, reported at the place in the document that its values come from."""

    def __init__(self, checker: Checker, origin: Mapping[str, str]) -> None:
        self.checker = checker
        self.origin = origin
        """Swept path of the trial -> path in the document."""
        self.sound = True
        """Whether nothing is wrong so far."""

    def complain(self, path: str, message: str, *, unknown_key: bool = False) -> None:
        self.sound = False
        self.checker.complain(origin_path(self.origin, path, of_axis=unknown_key), message)

    def validate(self, model: type[S], data: dict[str, Any], under: str = "") -> S | None:
        """``model`` from plain data. Reports every problem and leaves wrong values out, so that the rest is checked.

        ``None`` where what is left is not enough; ``sound`` says whether anything was left out.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.sound = False
            written = partial(self._written, under)
            wrong = list(complaints(model, data, error.errors(include_url=False), written))
        for complaint in wrong:
            if complaint.unknown_key or not _unreadable(complaint.value):
                self.complain(_inside(under, complaint.path), complaint.message, unknown_key=complaint.unknown_key)
        left = _without(data, [complaint.path for complaint in wrong])
        try:
            return model.model_validate(left)
        except ValidationError:
            return None

    def _written(self, under: str, path: tuple[str | int, ...]) -> str | None:
        """How the value at ``path`` is written, where that is a number, true or false of the document."""
        return self.checker.document.texts.get(origin_path(self.origin, _inside(under, path)))


def _inside(path: str, parts: Iterable[str | int]) -> str:
    """The YAML path of keys and indices inside ``path``."""
    return reduce(child, parts, path)


def _without(data: dict[str, Any], paths: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
    """``data`` less the values at ``paths``; a list loses itself with its item."""
    data = copy.deepcopy(data)
    for path in paths:
        inside: Any = data
        for number, key in enumerate(path):
            last = number + 1 == len(path) or isinstance(path[number + 1], int)
            if not isinstance(inside, dict) or key not in inside:
                break
            if last:
                del inside[key]
                break
            inside = inside[key]
    return data


def origin_path(origin: Mapping[str, str], path: str, *, of_axis: bool = False) -> str:
    """Where in the document the value at a trial's ``path`` stands; ``of_axis``: the axis, not one of its values."""
    for swept in sorted(origin, key=len, reverse=True):
        if path == swept or path.startswith((f"{swept}.", f"{swept}[")):
            place = child("sweep", swept) if of_axis and path == swept else origin[swept]
            return place + path[len(swept) :]
    return path


def _unreadable(value: object) -> bool:
    """Whether a value is, or contains, one that has already been refused."""
    if isinstance(value, dict):
        return any(map(_unreadable, value.values()))
    return any(map(_unreadable, value)) if isinstance(value, list) else value is UNREADABLE


def by_line(problems: Iterable[Problem]) -> list[Problem]:
    """``problems`` in the order of the file; problems of ``--set`` and of the whole file come first."""
    return sorted(problems, key=_line)


def _line(problem: Problem) -> int:
    line = re.search(r":(\d+)$", problem.where)
    return int(line[1]) if line else 0
