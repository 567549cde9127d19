"""A study document to its trials: preset, then the file, then ``--set``, then one point of the sweep at a time.

All problems of all points are collected and raised together, each at the place of the value that caused it.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.errors import InputError, Problem, StudyError
from raprune.registry import KINDS, nearest
from raprune.study.check import Checker, SettingsProblems
from raprune.study.presets import COMMON, PLUGIN_PRESETS, PRESETS
from raprune.study.reader import Document, child, dump, parse_scalar, read_document
from raprune.study.schema import PLUGIN_KEYS, STUDY_KEYS, TRIAL_KEYS, Choice, StudySpec, TrialSpec

MAX_TRIALS = 10_000
LayerNames = Callable[[TrialSpec], Sequence[str]]


@dataclass(frozen=True)
class StudyPlan:
    """A study ready to run: what was asked for and the trials it expands to, matched ones last."""

    spec: StudySpec
    trials: tuple[TrialSpec, ...]
    axes: Mapping[str, Mapping[str, str]]
    """trial_id -> sweep axis -> the trial's value on it, as text."""
    document: Document
    """The study file as run, overrides and all, with the place of every value."""

    @property
    def text(self) -> str:
        """The study as run, as YAML."""
        return dump(self.document)

    def problem(self, path: str, message: str) -> Problem:
        """A problem at ``path``, or at the axis of the sweep that sets it."""
        swept = child("sweep", path)
        return self.document.problem(swept if swept in self.document.places else path, message)


def load_study(file: Path, overrides: Iterable[str] = (), layer_names: LayerNames | None = None) -> StudyPlan:
    """Read, check and expand a study file.

    ``overrides`` are ``a.b=value`` texts from ``--set``; ``layer_names`` lists a trial's prunable layers and is asked
    only for ``layers: each``. Raises :class:`StudyError` with every problem found.
    """
    document = read_document(file)
    _apply_overrides(document, overrides)
    study_data = {k: v for k, v in document.data.items() if k in STUDY_KEYS and k != "sweep"}
    checker = Checker(document)
    spec = checker.study(study_data)
    preset = spec.preset if spec else "default"
    expansion = _Expansion(document, checker, preset, layer_names)
    trials, axes = expansion.run()
    if checker.problems or spec is None:
        raise StudyError(checker.problems)
    return StudyPlan(spec, tuple(trials), axes, document)


def _apply_overrides(document: Document, overrides: Iterable[str]) -> None:
    problems = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(Problem("--set", "", f"must be path=value; got {text!r}"))
            continue
        key = key.strip()
        try:
            parsed = parse_scalar(value.strip(), key)
        except StudyError as error:
            problems.extend(Problem("--set", key, problem.message) for problem in error.problems)
            continue
        sweep = document.data.get("sweep")
        if key.startswith("sweep."):
            document.data.setdefault("sweep", {})[key.removeprefix("sweep.")] = parsed
        else:
            if isinstance(sweep, dict):
                sweep.pop(key, None)
            set_path(document.data, key, parsed)
        document.places[key] = "--set"
    if problems:
        raise StudyError(problems)


def set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings; a plug-in given by its bare name becomes ``{name: ...}`` on the way."""
    *parents, last = path.split(".")
    for key in parents:
        inside = data.get(key)
        if isinstance(inside, str):
            inside = {"name": inside}
        if not isinstance(inside, dict):
            inside = {}
        data[key] = inside = dict(inside)
        data = inside
    data[last] = value


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``under``, mapping by mapping; a fine-tune's length replaces the other unit."""
    out = copy.deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        if both and not {"epochs", "steps"} & set(value):
            out[key] = merge(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


class _Expansion:
    def __init__(
        self, document: Document, checker: Checker, preset: str, layer_names: LayerNames | None
    ) -> None:
        self.document = document
        self.checker = checker
        self.preset = preset
        self.layer_names = layer_names
        base = {k: v for k, v in document.data.items() if k not in STUDY_KEYS}
        self.base = merge(merge(COMMON, PRESETS[preset]), base)

    def run(self) -> tuple[list[TrialSpec], dict[str, dict[str, str]]]:
        """The trials, unmatched ones first, with their values on the sweep's axes."""
        points = self._points()
        trials: dict[str, TrialSpec] = {}
        axes: dict[str, dict[str, str]] = {}
        searched: list[tuple[dict[str, int], TrialSpec]] = []
        matched: list[tuple[dict[str, int], dict[str, Any], dict[str, str], str]] = []
        for point in points:
            raw, origin = self._at(point)
            match = raw["method"].pop("match", None) if isinstance(raw["method"], dict) else None
            if match is not None:
                matched.append((point, raw, origin, str(match)))
                continue
            for trial in self._trials(raw, origin):
                searched.append((point, trial))
                trials[trial.trial_id] = trial
                axes.setdefault(trial.trial_id, self._labels(point, trial))
        for point, raw, origin, match in matched:
            for trial in self._matched(point, raw, origin, match, searched):
                trials[trial.trial_id] = trial
                axes.setdefault(trial.trial_id, self._labels(point, trial))
        return list(trials.values()), axes

    def _points(self) -> list[dict[str, int]]:
        """Every point of the grid as axis -> index of its value."""
        sweep = self.document.data.get("sweep", {})
        if not isinstance(sweep, dict):
            self.checker.complain("sweep", f"must map a key to a list of values; got {sweep!r}")
            return []
        sizes: dict[str, int] = {}
        for axis, values in sweep.items():
            if not isinstance(values, list) or not values:
                self.checker.complain(child("sweep", axis), f"must be a list of at least one value; got {values!r}")
            elif axis.split(".")[0] not in TRIAL_KEYS:
                self.checker.complain(child("sweep", axis), f"is not a key of a trial{nearest(axis, TRIAL_KEYS)}")
            else:
                sizes[axis] = len(values)
        number = 1
        for size in sizes.values():
            number *= size
        if number > MAX_TRIALS:
            self.checker.complain("sweep", f"expands to {number:,} trials; at most {MAX_TRIALS:,} are allowed")
            return []
        return [dict(zip(sizes, index, strict=True)) for index in itertools.product(*map(range, sizes.values()))]

    def _at(self, point: dict[str, int]) -> tuple[dict[str, Any], dict[str, str]]:
        """The trial's raw keys at one point, and where in the document each swept path comes from."""
        raw = copy.deepcopy(self.base)
        origin: dict[str, str] = {}
        for axis, index in point.items():
            set_path(raw, axis, copy.deepcopy(self.document.data["sweep"][axis][index]))
            origin[axis] = child(child("sweep", axis), index)
            if axis in ("drop_bound", "score_floor"):
                raw.pop("score_floor" if axis == "drop_bound" else "drop_bound", None)
        for kind in PLUGIN_KEYS:
            if isinstance(raw.get(kind), str):
                raw[kind] = {"name": raw[kind]}
        raw.setdefault("method", {})
        return raw, origin

    def _trials(
        self, raw: dict[str, Any], origin: dict[str, str], matched_trial_id: str | None = None
    ) -> list[TrialSpec]:
        """The trial of one point, or one for each layer; none where something is wrong with it."""
        raw = dict(raw)
        study = str(self.document.data.get("name", ""))
        each = raw.get("layers") == "each"
        if each:
            raw["layers"] = "all"
        place = SettingsProblems(self.checker, origin)
        for key in raw:
            if key not in TRIAL_KEYS:
                place.complain(key, f"is not a key here{nearest(key, [*TRIAL_KEYS, *STUDY_KEYS])}")
        fields = {k: v for k, v in raw.items() if k in TRIAL_KEYS and k not in PLUGIN_KEYS}
        complete = True
        for kind in PLUGIN_KEYS:
            choice = self._choice(kind, raw.get(kind), place)
            complete = complete and choice is not None
            fields[kind] = choice or Choice(name="?")
        trial = place.validate(TrialSpec, {**fields, "study": study, "matched_trial_id": matched_trial_id})
        if trial is None or not complete:
            return []
        if not each or self.checker.problems or self.layer_names is None:
            return [trial]
        return [trial.model_copy(update={"layers": [name]}) for name in self.layer_names(trial)]

    def _choice(self, kind: str, given: Any, place: SettingsProblems) -> Choice | None:
        if given is None:
            known = KINDS[kind].names()
            place.complain(kind, f"is required (known: {', '.join(known)})")
            return None
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            place.complain(kind, f"must be a name, or a mapping with a name; got {given!r}")
            return None
        name = given["name"]
        try:
            plugin = KINDS[kind].get(name)
        except InputError as error:
            place.complain(child(kind, "name"), str(error))
            return None
        under = PLUGIN_PRESETS[self.preset].get((kind, name), {})
        raw = {**under, **{k: v for k, v in given.items() if k != "name"}}
        settings = place.validate(plugin.settings, raw, kind)
        if settings is None:
            return None
        for key, message in getattr(settings, "problems", lambda: [])():
            place.complain(child(kind, key), message)
        return Choice(name=name, settings=settings.model_dump(mode="json"))

    def _matched(
        self,
        point: dict[str, int],
        raw: dict[str, Any],
        origin: dict[str, str],
        match: str,
        searched: list[tuple[dict[str, int], TrialSpec]],
    ) -> list[TrialSpec]:
        """One trial for each searched trial of the named method at the same point of the other axes."""
        other = {axis: index for axis, index in point.items() if axis != "method"}
        partners = [
            trial
            for at, trial in searched
            if trial.method.name == match and {a: i for a, i in at.items() if a != "method"} == other
        ]
        if not partners and not self.checker.problems:
            named = sorted({trial.method.name for _, trial in searched})
            SettingsProblems(self.checker, origin).complain(
                "method.match", f"no trial of this study uses the method {match!r}{nearest(match, named)}"
            )
        out = []
        for partner in partners:
            layers = {"layers": partner.layers} if raw.get("layers") == "each" else {}
            out += self._trials({**raw, **layers}, origin, partner.trial_id)
        return out

    def _labels(self, point: dict[str, int], trial: TrialSpec) -> dict[str, str]:
        """The trial's value on every axis, as text that Ray Tune and a person can read."""
        labels = {
            axis: _label(self.document.data["sweep"][axis][index]) for axis, index in point.items() if axis != "method"
        }
        labels["method"] = trial.method.name + (" (matched)" if trial.matched_trial_id else "")
        if isinstance(trial.layers, list):
            labels["layers"] = ",".join(trial.layers)
        return labels


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
