"""The trials of a search: those that stand for all in checks, and the one at each suggested point.

A point is laid into the study as a sweep with one value per axis, so it is checked and labelled as any trial is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raprune.errors import Problem
from raprune.study.check import by_line
from raprune.study.expand import LayerNames, StudyPlan, UnsoundStudy, expand_sweep
from raprune.study.overrides import within
from raprune.study.reader import Document, child
from raprune.study.search import BASELINE_KEYS, OF_GUARD
from raprune.study.sweep import axis_problem

OVER = "search.over"
EACH = "must not be each beside a search, whose suggestions are single trials: name the layers, or sweep instead"


def expand_search(document: Document, layer_names: LayerNames | None) -> StudyPlan:
    """Check a document with a search; its trials stand for all that the search may suggest.

    Every value of a list and both ends of a range are in one of them. Raises :class:`UnsoundStudy` with every problem.
    """
    problems, over = _look(document)
    points = [{key: value[min(i, len(value) - 1)] for key, value in over.items()} for i in range(_most(over.values()))]
    plans: list[StudyPlan] = []
    for point in points or [{}]:
        try:
            plans.append(_expand_at(document, point, layer_names))
        except UnsoundStudy as error:
            plans.append(error.plan)
            problems += error.problems
    plan = merged(plans, document)
    problems += _never_known(plan)
    if not problems and len({trial.baseline_key for trial in plan.trials}) > 1:
        problems.append(document.problem(OVER, "must leave the baseline as it is; sweep what changes it"))
    if problems:
        raise UnsoundStudy(by_line(dict.fromkeys(problems)), plan)
    return plan


def trial_at(plan: StudyPlan, point: Mapping[str, Any]) -> StudyPlan:
    """The plan of the one trial at ``point``. Raises :class:`StudyError` where the study refuses that point."""
    found = _expand_at(plan.document, point, None)
    (trial,) = found.trials
    return replace(found, trials=(trial,))


def merged(plans: Sequence[StudyPlan], document: Document) -> StudyPlan:
    """One plan with the trials of all, each once."""
    trials = {trial.trial_id: trial for plan in plans for trial in plan.trials}
    axes = {name: labels for plan in plans for name, labels in plan.axes.items()}
    origins = {
        name: {key: _real(path) for key, path in of.items()} for plan in plans for name, of in plan.origins.items()
    }
    return StudyPlan(plans[0].spec, tuple(trials.values()), axes, document, origins)


def _expand_at(document: Document, point: Mapping[str, Any], layer_names: LayerNames | None) -> StudyPlan:
    sweep = {key: [value] for key, value in point.items()}
    places = {f"{child('sweep', key)}[0]": document.where(child(OVER, key)) for key in point}
    texts = {
        f"{child('sweep', key)}[0]{inside}": text
        for key in point for inside, text in within(document.texts, child(OVER, key)).items() if inside
    }  # fmt: skip
    data = {**document.data, "sweep": sweep} if sweep else document.data
    at = replace(document, data=data, places={**document.places, **places}, texts={**document.texts, **texts})
    try:
        return expand_sweep(at, layer_names)
    except UnsoundStudy as error:
        problems = [replace(one, path=_real(one.path)) for one in error.problems]
        raise UnsoundStudy(problems, error.plan, error.ways_on) from None


def _real(path: str) -> str:
    """Where the user wrote what stands at ``path`` of the sweep."""
    return path.replace("sweep", OVER, 1).replace("[0]", "", 1) if path.startswith("sweep") else path


def _look(document: Document) -> tuple[list[Problem], dict[str, list[Any]]]:
    """What is wrong with the axes, and the values of the sound ones that stand for all of theirs."""
    problems: list[Problem] = []
    given = document.data.get("search")
    over = given.get("over") if isinstance(given, dict) else None
    if "sweep" in document.data:
        problems.append(document.problem("search", "must not stand beside sweep: keep one of the two"))
    problems += [document.problem(path, EACH) for path in _each(document.data, over)]
    sound: dict[str, list[Any]] = {}
    for key, values in over.items() if isinstance(over, dict) else ():
        problem = axis_problem(str(key)) or _not_here(str(key))
        if problem:
            problems.append(document.problem(child(OVER, str(key)), problem))
        elif isinstance(values, dict) or (isinstance(values, list) and values):
            ends = [values.get("low"), values.get("high")] if isinstance(values, dict) else values
            sound[str(key)] = [end for end in ends if end is not None] or [0]
    return problems, sound


def _each(data: Mapping[str, Any], over: Any) -> list[str]:
    """Where the study asks for one trial for each layer."""
    values = over.get("layers") if isinstance(over, dict) else None
    found = [child(child(OVER, "layers"), at) for at, one in enumerate(values or []) if one == "each"]
    return [*found, *(["layers"] if data.get("layers") == "each" else [])]


def _never_known(plan: StudyPlan) -> Iterator[Problem]:
    """The columns that a search compares although no trial will have them."""
    search = plan.spec.search
    if search is None or not plan.trials or any(trial.guard > 0 for trial in plan.trials):
        return
    compared = {"maximise": search.maximise, "minimise": search.minimise}
    places = {f"search.{key}": column for key, column in compared.items() if column}
    for key in ("at_most", "at_least"):
        places |= {child(f"search.{key}", column): column for column in getattr(search, key)}
    for path, column in places.items():
        if column in OF_GUARD:
            message = f"{column} is of guard images, and this study has none: set guard above 0, or name another column"
            yield plan.document.problem(path, message)


def _not_here(key: str) -> str:
    first = key.partition(".")[0]
    if first in BASELINE_KEYS:
        return f"cannot be searched: a search stays with one baseline; sweep {first} instead"
    return ""


def _most(values: Iterable[Sequence[Any]]) -> int:
    return max(map(len, values), default=0)
