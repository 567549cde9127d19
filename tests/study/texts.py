"""A small study to spoil, what loading one gives, and whether its JSON Schema agrees."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from raprune.errors import Problem, StudyError
from raprune.study import StudyPlan, TrialSpec, load_study
from raprune.study.json_schema import study_schema
from raprune.study.reader import Document, parse_document

HEAD = "name: x\nmodel: {name: vgg16, width: 0.03125}\ndataset: digits\n"
"""Lines 1 to 3: what every study needs but a method and a bound."""
GOOD = f"{HEAD}method: magnitude\ndrop_bound: 2.0\n"
LAYERS = ["features.0", "features.3"]


def parse(text: str) -> Document:
    return parse_document(text, "s.yaml")


def load(folder: Path, text: str, overrides: Iterable[str] = ()) -> StudyPlan:
    """The plan of a study file; its network is said to have two layers. What loads, the JSON Schema takes."""
    file = folder / "s.yaml"
    file.write_text(text)
    plan = load_study(file, overrides, lambda trial: LAYERS)
    assert refused_by_schema(plan.document.data) == []
    return plan


@functools.cache
def validator() -> Draft202012Validator:
    """What `raprune schema` prints, ready to check studies with."""
    return Draft202012Validator(study_schema())


def refused_by_schema(data: Any) -> list[str]:
    """What the JSON Schema says against a study, each with its path."""
    return [f"{error.json_path}: {error.message}" for error in validator().iter_errors(data)]


def only_trial(folder: Path, text: str = GOOD, overrides: Iterable[str] = ()) -> TrialSpec:
    """The trial of a study that has one."""
    (trial,) = load(folder, text, overrides).trials
    return trial


def problems(folder: Path, text: str, overrides: Iterable[str] = ()) -> list[Problem]:
    """What is wrong with a study that must be refused; places are told without the folder."""
    with pytest.raises(StudyError) as caught:
        load(folder, text, overrides)
    return [Problem(p.where.replace(f"{folder}/", ""), p.path, p.message) for p in caught.value.problems]


def told(folder: Path, text: str, overrides: Iterable[str] = ()) -> str:
    """The same as the user reads it."""
    return "\n".join(map(str, problems(folder, text, overrides)))
