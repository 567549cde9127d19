"""The sweep of a study: its axes, checked, and the points of the grid they span."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from raprune.registry import nearest
from raprune.study.check import Checker
from raprune.study.overrides import alternative, holds
from raprune.study.reader import UNREADABLE, Document, child
from raprune.study.schema import PLUGIN_KEYS, TRIAL_KEYS, TrialSpec
from raprune.study.wording import as_written, model_in, shown

MAX_TRIALS = 10_000
Point = dict[str, int]
"""Axis -> index of its value; outer keys before the keys inside them."""


@dataclass
class Sweep:
    """The axes that can be used, and those that cannot."""

    axes: dict[str, list[Any]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Axes with invalid values; nothing more is reported about them."""

    def points(self) -> list[Point]:
        """Every point of the grid; only the first of a grid that is too large."""
        number = math.prod(map(len, self.axes.values()))
        grid = itertools.product(*(range(len(values)) for values in self.axes.values()))
        inwards = sorted(self.axes, key=lambda axis: axis.count("."))
        named = (dict(zip(self.axes, index, strict=True)) for index in grid)
        points = ({axis: point[axis] for axis in inwards} for point in named)
        return list(itertools.islice(points, number if number <= MAX_TRIALS else 1))


def read_sweep(document: Document, checker: Checker) -> Sweep:
    """The sweep of ``document``; what is wrong with it goes to ``checker``."""
    sweep = Sweep()
    if "sweep" not in document.data:
        return sweep
    given = document.data["sweep"]
    if not isinstance(given, dict):
        sweep.broken = list(TRIAL_KEYS)  # any of them may have been meant
        if given is not UNREADABLE:
            checker.complain("sweep", f"must be a mapping of keys to lists of values; got {shown(given)}")
        return sweep
    if not given:
        checker.complain("sweep", "has no axis: give a key with a list of values, or omit sweep")
    for axis, values in given.items():
        problem = axis_problem(axis)
        if problem:
            checker.complain(child("sweep", axis), problem)
            continue
        fit = _values_fit(axis, values, checker)
        _laid_into_mappings(document.data, axis, checker)
        if _alone(document, axis, checker) and fit:
            sweep.axes[axis] = values
        else:
            sweep.broken.append(axis)
    number = math.prod(map(len, sweep.axes.values()))
    if number > MAX_TRIALS:
        checker.complain("sweep", f"must expand to at most {MAX_TRIALS:,} trials; got {number:,}")
    return sweep


def axis_problem(axis: str) -> str:
    """Why a trial has no key ``axis`` outside its plug-ins; empty where it has, or may have."""
    first, *inside = axis.split(".")
    if first not in TRIAL_KEYS or not all(inside):
        return f"is not a key of a trial{nearest(axis, TRIAL_KEYS)}"
    if first in PLUGIN_KEYS:
        return ""
    model: type[BaseModel] | None = TrialSpec
    for key in (first, *inside):
        if model is None:
            return f"is not a key of a trial: nothing can be set inside {first}"
        if key not in model.model_fields:
            return f"is not a key of a trial{nearest(key, list(model.model_fields))}"
        model = model_in(model.model_fields[key].annotation)
    return ""


def _alone(document: Document, axis: str, checker: Checker) -> bool:
    """Whether no other axis sets this key. That the study sets it too is reported, but its values are still checked."""
    other = alternative(axis)
    for path in filter(None, (axis, other)):
        if holds(document.data, path):
            message = f"is swept, but {path} also has a value ({document.where(path)}): keep one of the two"
            checker.complain(child("sweep", axis), message)
    for outer, values in document.data["sweep"].items():
        inside = axis.removeprefix(f"{outer}.")
        set_inside = inside != axis and isinstance(values, list) and any(holds(value, inside) for value in values)
        if outer == other or set_inside:
            message = f"sets what {child('sweep', outer)} also sets: keep one of the two"
            checker.complain(child("sweep", axis), message)
            return False
    return True


def _laid_into_mappings(data: dict[str, Any], axis: str, checker: Checker) -> None:
    """Check that an axis is laid into a mapping or a plug-in's bare name; anything else would silently be lost."""
    keys = axis.split(".")[:-1]
    found = [_not_a_mapping(data, keys, "", False)] if keys else []
    for number in range(1, len(keys) + 1):
        outer, values = ".".join(keys[:number]), data["sweep"].get(".".join(keys[:number]))
        for index, value in enumerate(values if isinstance(values, list) else []):
            path = child(child("sweep", outer), index)
            found.append(_not_a_mapping(value, keys[number:], path, outer in PLUGIN_KEYS))
    for path, value in filter(None, found):
        checker.complain(path, f"must be a mapping, because the sweep sets {axis}; got {shown(value)}")


def _not_a_mapping(value: Any, keys: list[str], path: str, may_be_name: bool) -> tuple[str, Any] | None:
    """The first value on the way along ``keys`` that nothing can be laid into, with its path."""
    if value is UNREADABLE or (may_be_name and isinstance(value, str)):
        return None
    if not isinstance(value, dict):
        return path, value
    if not keys or keys[0] not in value:
        return None
    return _not_a_mapping(value[keys[0]], keys[1:], child(path, keys[0]), not path and keys[0] in PLUGIN_KEYS)


def _values_fit(axis: str, values: Any, checker: Checker) -> bool:
    path = child("sweep", axis)
    if values is UNREADABLE:
        return False
    if not isinstance(values, list) or not values:
        text = as_written(values, checker.document.texts.get(path))
        hint = f"; did you mean [{text}]?" if isinstance(values, str | int | float) else ""
        checker.complain(path, f"must be a list of at least one value; got {text}{hint}")
        return False
    return True
