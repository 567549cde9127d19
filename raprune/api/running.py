"""Runs a study for a program: progress goes to stderr or nowhere, and the process is left as it was."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import torch

from raprune.api.report import TEMPORARY
from raprune.console.progress import StudyProgress
from raprune.engine.arithmetic import same_arithmetic
from raprune.engine.inputs import Inputs
from raprune.errors import EvaluatorError, InputError
from raprune.launch import Outcome
from raprune.launch import run_study as launch
from raprune.preflight.checks import Facts
from raprune.study import StudyPlan
from raprune.system import paths, store
from raprune.system.output import lenient


def run(
    plan: StudyPlan,
    facts: Mapping[str, Facts],
    out: Path,
    inputs: Inputs,
    *,
    evaluators: int | None,
    address: str | None,
    progress: bool,
) -> Outcome:
    """Run ``plan`` in the folder ``out``. Raises KeyboardInterrupt where an interruption left trials unfinished."""
    with same_threads(), same_arithmetic(), _watch(plan, facts, out, progress) as watch:
        outcome = launch(plan, out, watch, num_evaluators=evaluators, address=address, inputs=inputs)
    if outcome.lost is not None:
        raise EvaluatorError(outcome.lost)
    if outcome.interrupted and "stopped" in outcome.statuses.values():
        raise KeyboardInterrupt(f"the same call with out={store.shown(out)!r} resumes from the last committed layers")
    return outcome


@contextlib.contextmanager
def same_threads() -> Iterator[None]:
    """Restore torch's number of threads after the block."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _watch(plan: StudyPlan, facts: Mapping[str, Facts], out: Path, shown: bool) -> StudyProgress:
    """Watches the study for this program, if it is ``shown``, and for ``raprune watch``."""
    from rich.console import Console

    from raprune.console.tables import study_progress

    console = Console(stderr=True, file=lenient(sys.stderr)) if shown else Console(quiet=True)
    console.print(f"{plan.spec.name}: rows and networks in {store.shown(out)}", highlight=False, soft_wrap=True)
    return study_progress(plan, facts, console, out)


def folder_for(out: str | PathLike[str] | None) -> Path:
    """``out`` as a folder, created if need be; a new temporary one for ``None``, which stays until it is removed."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix=TEMPORARY))
    return paths.folder_for(store.given_out(out, "out"), "out")


def evaluators_for(evaluators: int | None, address: str | None) -> int | None:
    """How many evaluators to request: with an address, 0 stands for what the study or the cluster has."""
    if evaluators is not None and (isinstance(evaluators, bool) or not isinstance(evaluators, int) or evaluators < 0):
        raise InputError(f"evaluators: must be an integer of at least 0; got {evaluators!r}")
    return None if not evaluators and address is not None else evaluators
