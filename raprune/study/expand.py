"""From a study document to its trials: preset, then the file, then ``--set``, then one point of the sweep at a time.

All problems of all points are collected and raised together, each at the place of the value that caused it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raprune.errors import InputError, Problem, StudyError
from raprune.registry import ENGINES, METHODS, nearest
from raprune.study.check import Checker, SettingsProblems, origin_path
from raprune.study.overrides import merge, set_path
from raprune.study.parts import EvaluatorsSpec
from raprune.study.plugins import choose, plugin_name, with_decision, with_study_plugins
from raprune.study.postprocess import JointSpec
from raprune.study.presets import COMMON, JOINT_OF, PRESETS
from raprune.study.reader import UNREADABLE, Document, child, dump
from raprune.study.schema import PLUGIN_KEYS, STUDY_KEYS, TRIAL_KEYS, Choice, ModelChoice, StudySpec, TrialSpec
from raprune.study.seeding import follow_seed
from raprune.study.sweep import MAX_TRIALS, Point, read_sweep
from raprune.study.wording import shown

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
    origins: Mapping[str, Mapping[str, str]]
    """trial_id -> swept path -> path in the document."""

    @property
    def text(self) -> str:
        """The study as run, as YAML."""
        return dump(self.document)

    @property
    def precisions(self) -> set[str | None]:
        """The precisions that a trial names: its candidates', and its network's."""
        return {precision for t in self.trials for precision in (t.fidelity.precision, t.model.precision)}

    def problem(self, trial: TrialSpec, path: str, message: str) -> Problem:
        """A problem of ``trial`` at ``path``, or at the value of the sweep that sets it."""
        return self.document.problem(origin_path(self.origins[trial.trial_id], path), message)


class UnsoundStudy(StudyError):
    """A study with problems; carries what is known of its trials all the same."""

    def __init__(self, problems: Sequence[Problem], plan: StudyPlan, ways_on: Sequence[str] = ()) -> None:
        super().__init__(problems, ways_on)
        self.plan = plan
        """Wrong values are left out, so that what else is wrong can be found; never to be run."""


def expand_sweep(document: Document, layer_names: LayerNames | None = None) -> StudyPlan:
    """Check a document and expand its sweep; as :func:`raprune.study.load_study`."""
    checker = Checker(document)
    own = {k: v for k, v in document.data.items() if k in STUDY_KEYS and k != "sweep"}
    spec = checker.study(with_study_plugins(own, checker))
    preset = document.data.get("preset", "default")
    expansion = _Expansion(document, checker, preset if preset in list(PRESETS) else "default", layer_names)
    expansion.run()
    trials, spec = tuple(expansion.trials.values()), spec or StudySpec(name="unnamed")
    if spec.scheduler is not None and any(trial.matched_trial_id for trial in trials):
        checker.complain("scheduler", "must not stand beside a matched method, which needs its partner's end")
    _check_fidelities(spec.evaluators, trials, checker)
    plan = StudyPlan(spec, trials, expansion.axes, document, expansion.origins)
    if checker.problems:
        raise UnsoundStudy(checker.problems, plan, checker.ways_on)
    return plan


def _check_fidelities(evaluators: EvaluatorsSpec, trials: Iterable[TrialSpec], checker: Checker) -> None:
    engine, device = evaluators.engine, evaluators.device
    if device in ("cpu", "mps") and any(trial.fidelity.precision == "tf32" for trial in trials):
        checker.complain("evaluators.device", f"must be cuda or auto where fidelity.precision is tf32; got {device}")
    able = [plugin.name for plugin in ENGINES if plugin.declared["has_fidelities"]]
    if engine not in able and not all(trial.fidelity.is_full for trial in trials):
        message = f"must be {' or '.join(able)} where fidelity is set: the {engine} engine has no fidelities"
        checker.complain("evaluators.engine", message)


class _Expansion:
    def __init__(self, document: Document, checker: Checker, preset: str, layer_names: LayerNames | None) -> None:
        self.document = document
        self.checker = checker
        self.preset = preset
        self.layer_names = layer_names
        self.trials: dict[str, TrialSpec] = {}
        self.axes: dict[str, dict[str, str]] = {}
        self.origins: dict[str, dict[str, str]] = {}
        self.points: dict[str, Point] = {}
        self.sweep = read_sweep(document, checker)
        self.base = merge(merge(COMMON, PRESETS[preset]), _own(document.data))

    def run(self) -> None:
        """All trials, unmatched ones first, with their values on the sweep's axes."""
        for axis in self.sweep.broken:
            set_path(self.base, axis, UNREADABLE)
        matched: list[tuple[Point, dict[str, Any], str]] = []
        searched: dict[tuple[Any, ...], list[TrialSpec]] = {}
        for point in self.sweep.points():
            raw = self._at(point)
            if isinstance(raw["method"], dict) and "match" in raw["method"]:
                matched.append((point, raw, raw["method"].pop("match")))
                continue
            place = SettingsProblems(self.checker, _origin(point))
            trials = self._trials(raw, place)
            searched.setdefault((plugin_name(raw["method"]), *_others(point)), []).extend(trials)
            self._add(point, trials, place.sound)
        methods = sorted({key[0] for key in searched if key[0]})
        for point, raw, match in matched:
            place = SettingsProblems(self.checker, _origin(point))
            if self._can_match(raw["method"], match, methods, place):
                partners = searched.get((match, *_others(point)), [])
                trials = [trial for partner in partners for trial in self._matched(raw, place, partner)]
                self._add(point, trials, place.sound)
            else:
                self._trials(raw, place)
        if len(self.trials) > MAX_TRIALS:
            self.checker.complain("layers", f"must expand to at most {MAX_TRIALS:,} trials; got {len(self.trials):,}")

    def _at(self, point: Point) -> dict[str, Any]:
        """The trial's raw keys at one point."""
        raw = copy.deepcopy(self.base)
        for axis, index in point.items():
            set_path(raw, axis, copy.deepcopy(self.sweep.axes[axis][index]))
        if "seed" in point:
            follow_seed(raw)
        return raw

    def _add(self, point: Point, trials: Sequence[TrialSpec], sound: bool) -> None:
        for trial in trials:
            name = trial.trial_id
            if name in self.trials:
                if sound:
                    self._twice(point, self.points[name])
                continue
            self.trials[name] = trial
            self.points[name] = point
            self.axes[name] = self._labels(point, trial)
            self.origins[name] = _origin(point)

    def _twice(self, point: Point, first: Point) -> None:
        for axis, index in point.items():
            if index != first[axis]:
                path, value = child("sweep", axis), self.sweep.axes[axis][index]
                message = f"expands to the same trials as {child(path, first[axis])}; got {shown(value)}"
                self.checker.complain(child(path, index), message)
                return

    def _trials(
        self, raw: dict[str, Any], place: SettingsProblems, partner: TrialSpec | None = None
    ) -> list[TrialSpec]:
        """The trial of one point, or one for each layer; wrong values are reported and, where possible, left out.

        ``partner``: the trial to which it is matched.
        """
        raw = dict(raw)
        each = raw.get("layers") == "each"
        if each:
            raw["layers"] = "all"
        for key in raw:
            if key not in TRIAL_KEYS:
                place.complain(child("", key), not_a_key(key))
        fields = {k: v for k, v in raw.items() if k in TRIAL_KEYS and k not in PLUGIN_KEYS}
        raw = {**raw, "decision": with_decision(raw.get("decision"), raw.get("method"), self.preset)}
        choices = {kind: choose(kind, raw.get(kind), self.preset, place) for kind in PLUGIN_KEYS}
        fields |= {kind: choice or _stand_in(kind) for kind, choice in choices.items()}
        study = str(self.document.data.get("name", ""))
        fields |= {"study": study, "matched_trial_id": None if partner is None else partner.trial_id}
        unbound = {**{k: v for k, v in fields.items() if k != "score_floor"}, "drop_bound": 100.0}
        trial = place.validate(TrialSpec, fields) or place.validate(TrialSpec, unbound)
        if trial is None or choices["model"] is None or choices["dataset"] is None:
            return []
        if partner is not None:
            trial = trial.model_copy(update={"postprocess": partner.postprocess})
        elif not each:
            trial = _with_joint(trial, raw.get("postprocess"), self.preset)
        if not each or self.checker.problems or self.layer_names is None:
            return [trial]
        try:
            return [trial.model_copy(update={"layers": [name]}) for name in self.layer_names(trial)]
        except InputError as error:
            place.complain(getattr(error, "key", "layers"), str(error))
            return []

    def _can_match(self, given: dict[str, Any], match: Any, methods: list[str], place: SettingsProblems) -> bool:
        """Whether a method can be matched to the trials of the method called ``match``."""
        name = plugin_name(given)
        rankers = [plugin.name for plugin in METHODS if plugin.declared["ranks"]]
        if name in METHODS.names() and name not in rankers:
            message = f"needs a method that ranks the filters ({', '.join(rankers)}); {name} does not"
            place.complain("method.match", message)
        if match is not UNREADABLE and match not in methods:
            unknown = f"no trial of this study uses the method {shown(match)}{nearest(str(match), methods)}"
            alone = "must name another method of this study's sweep, but there is none; got " + shown(match)
            place.complain("method.match", unknown if methods else alone)
        return match in methods

    def _matched(self, raw: dict[str, Any], place: SettingsProblems, partner: TrialSpec) -> list[TrialSpec]:
        """The trial that prunes to the num_kept of ``partner``."""
        layers = {"layers": partner.layers} if raw.get("layers") == "each" else {}
        return self._trials({**raw, **layers}, place, partner)

    def _labels(self, point: Point, trial: TrialSpec) -> dict[str, str]:
        """The trial's value on every axis, as text that Ray Tune and a person can read."""
        values = {axis: values[point[axis]] for axis, values in self.sweep.axes.items()}
        labels = {axis: _label(value) for axis, value in values.items() if axis != "method"}
        labels["method"] = _method_label(trial, values.get("method"), self._methods())
        if isinstance(trial.layers, list) and values.get("layers", self.base.get("layers")) == "each":
            labels["layers"] = ",".join(trial.layers)
        return labels

    def _methods(self) -> Sequence[Any]:
        """All methods beside which one is named: of the sweep, or of the search that lays its points into it."""
        search = self.document.data.get("search")
        over = search.get("over") if isinstance(search, dict) else None
        searched = over.get("method") if isinstance(over, dict) else None
        return searched if isinstance(searched, list) else self.sweep.axes.get("method", [])


def _with_joint(trial: TrialSpec, given: Any, preset: str) -> TrialSpec:
    """``trial`` with the joint passes that follow its decision stage, unless ``given`` (``postprocess``) says which.

    There is nothing for them to do where a single layer is decided, nor where no fine-tune wins back what candidates
    lose.
    """
    if isinstance(given, dict) and "joint" in given:
        return trial
    usual = JOINT_OF[preset].get(trial.decision.name)
    is_one_layer = isinstance(trial.layers, list) and len(trial.layers) == 1
    if usual is None or is_one_layer or trial.finetune.after_layer.num_steps(1) == 0:
        return trial
    postprocess = trial.postprocess.model_copy(update={"joint": JointSpec(**usual)})
    return trial.model_copy(update={"postprocess": postprocess})


def _method_label(trial: TrialSpec, given: Any, others: Sequence[Any]) -> str:
    """``agent``, ``random (matched)``, and its settings where the sweep has the same method with others."""
    name = trial.method.name + (" (matched)" if trial.matched_trial_id else "")
    given, *all_given = (m if isinstance(m, dict) else {"name": m} for m in (given, *others))
    alike = [m for m in all_given if all(m.get(key) == given.get(key) for key in ("name", "match"))]
    common = {key for key in given if all(m.get(key) == given[key] for m in alike)} | {"name", "match"}
    own = [f"{key} {_label(value)}" for key, value in given.items() if key not in common]
    return " ".join([name, *own])


def _stand_in(kind: str) -> Choice:
    """Stands in for an unusable plug-in, so that the rest can be checked."""
    return (ModelChoice if kind == "model" else Choice)(name=plugin_name(COMMON.get(kind)) or "?")


def not_a_key(key: str) -> str:
    """Why ``key``, at the top of a study, is refused."""
    first, _, rest = key.partition(".")
    if rest and first in (*TRIAL_KEYS, *STUDY_KEYS):
        return f"is not a key here: dots are for sweep and --set; write {rest} inside {first}"
    return f"is not a key here{nearest(key, [*TRIAL_KEYS, *STUDY_KEYS])}"


def _own(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in STUDY_KEYS}


def _origin(point: Point) -> dict[str, str]:
    """Swept path of a trial -> path in the document."""
    return {axis: child(child("sweep", axis), index) for axis, index in point.items()}


def _others(point: Point) -> tuple[tuple[str, int], ...]:
    """The point on every axis but the method's."""
    return tuple((axis, index) for axis, index in point.items() if axis != "method")


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
