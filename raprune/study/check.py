"""Validation errors as sentences: the place in the file, the rule, the value, the nearest valid choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from raprune.errors import Problem
from raprune.registry import Settings, nearest
from raprune.study.reader import Document, child
from raprune.study.schema import StudySpec

S = TypeVar("S", bound=Settings)


class Checker:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def complain(self, path: str, message: str) -> None:
        problem = self.document.problem(path, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def study(self, data: dict[str, Any]) -> StudySpec | None:
        """The study's own keys; ``None`` where they are wrong."""
        return SettingsProblems(self, {}).validate(StudySpec, data)


class SettingsProblems:
    """Problems of one trial, told at the place in the document that its values come from."""

    def __init__(self, checker: Checker, origin: Mapping[str, str]) -> None:
        self.checker = checker
        self.origin = origin
        """Swept path of the trial -> path in the document."""

    def complain(self, path: str, message: str) -> None:
        for swept, place in self.origin.items():
            if path == swept or path.startswith((f"{swept}.", f"{swept}[")):
                path = place + path[len(swept) :]
                break
        self.checker.complain(path, message)

    def validate(self, model: type[S], data: dict[str, Any], under: str = "") -> S | None:
        """``model`` from plain data; ``None``, with every problem told, where the data do not fit."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self.complain(_path(details, under), _sentence(model, details))
            return None


def _path(details: ErrorDetails, under: str) -> str:
    path = under
    for part in details["loc"]:
        if isinstance(part, int) or _is_key(part):
            path = child(path, part)
    return path


def _is_key(part: str) -> bool:
    """Whether a location part is a key of the file; unions add parts such as ``list[str]`` or ``literal['all']``."""
    return not (part.startswith(("literal[", "list[", "constrained-")) or part in ("int", "float", "str", "bool"))


def _sentence(model: type[BaseModel], details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        return f"is not a key here{nearest(str(details['loc'][-1]), _fields_at(model, details['loc'][:-1]))}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        expected = [part.strip("' ") for part in _literals(details)]
        return f"must be one of {', '.join(expected)}{_guess(value, expected)}; got {value!r}"
    if kind == "value_error":
        rule = str(details.get("ctx", {}).get("error", details["msg"]))
        return f"{rule}; got {value!r}" if not isinstance(value, dict) else rule
    rule = details["msg"][0].lower() + details["msg"][1:]
    return f"{rule}; got {value!r}"


def _literals(details: ErrorDetails) -> list[str]:
    return str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")


def _guess(value: object, expected: list[str]) -> str:
    hint = nearest(str(value), expected)
    return hint[: hint.index(" (known")] if hint.startswith(";") else ""


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one was found."""
    for part in loc:
        field = model.model_fields.get(str(part))
        inside = field.annotation if field else None
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            model = inside
    return list(model.model_fields)
