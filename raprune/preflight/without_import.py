"""A stranger's study, checked without running any code that it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from raprune.engine.inputs import Inputs
from raprune.preflight.checks import Facts, Inspector
from raprune.registry import is_imported, no_imports
from raprune.study import StudyPlan, TrialSpec, expand, load_study, read_study_file
from raprune.study.allowing import AllowImport, check_imports
from raprune.study.parts import DataSpec
from raprune.study.plugins import import_paths


@dataclass(frozen=True)
class Unimported:
    """A study checked without importing anything that it names."""

    plan: StudyPlan
    known: StudyPlan
    """The plan with only the trials that name no import path."""
    facts: dict[str, Facts]
    """The facts of ``known``."""
    imports: tuple[str, ...]
    """``file:line: model would import package.module:function``, each once."""


def load_without_imports(file: Path, overrides: Iterable[str] = (), rehearse: bool = False) -> Unimported:
    """Load a study and check what can be checked without the user's own code; raises :class:`StudyError`."""
    with no_imports(), Inputs() as inputs:
        inspector = Inspector(inputs)
        plan = load_study(file, overrides, lambda t: ["each"] if _imports_of(t) else inspector.layer_names(t), rehearse)
        known = replace(plan, trials=tuple(trial for trial in plan.trials if not _imports_of(trial)))
        facts = inspector.inspect(known)
    imports = [
        str(plan.problem(trial, f"{kind}.import", f"would import {name}"))
        for trial in plan.trials
        for kind, name in _imports_of(trial).items()
    ]
    return Unimported(plan, known, facts, tuple(dict.fromkeys(imports)))


def _imports_of(trial: TrialSpec) -> dict[str, str]:
    """Kind -> import path."""
    names = {kind: getattr(trial, kind).name for kind in ("model", "dataset", "score")}
    return {kind: name for kind, name in names.items() if is_imported(name)}


def load_allowed(file: Path, allow_import: AllowImport, inputs: Inputs) -> StudyPlan:
    """Load somebody's study, whose own code is imported only where ``allow_import`` names it, or is True.

    Raises :class:`StudyError` for a study that is wrong, :class:`InputError` for code that nobody has allowed.
    """
    document = read_study_file(file)
    names = tuple(import_paths(document.data))
    for name in names:
        check_imports({"import": name}, str(file), allow_import)
    inputs.import_for(names)
    inputs.read_as(DataSpec.written(document.data.get("data")))
    return expand(document, Inspector(inputs).layer_names)
