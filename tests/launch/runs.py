"""Running the tiny study in tests, and comparing the results of two runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from raprune.launch import Outcome, run_study
from raprune.results import COST_COLUMNS, Tables, read_study
from raprune.study import StudyPlan, load_study
from tests.tiny import STUDY, write_study


class Watch:
    """Sees a study; calls ``on_commit`` with the number of layers committed so far."""

    def __init__(self, on_commit: Callable[[int], None] = lambda _: None) -> None:
        self.on_commit = on_commit
        self.commits = 0
        self.statuses: dict[str, str] = {}
        self.notes: list[str] = []

    def planned(self, plan: StudyPlan) -> None:
        self.plan = plan

    def note(self, text: str) -> None:
        self.notes.append(text)

    def phase(self, text: str) -> None:
        self.text = text

    def evaluators(self, text: str) -> None:
        self.pool = text

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        if "committed_pruning_ratio" in progress:
            self.commits += 1
            self.on_commit(self.commits)

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        self.statuses[trial_id] = status


TRAINED: list[Path] = []
"""The folder of the baselines that this test run trained; conftest.py sets it."""


def run_tiny(
    folder: Path, evaluators: int, *overrides: str, watch: Watch | None = None, text: str = STUDY, fresh: bool = False
) -> tuple[Outcome, Path]:
    """Run the tiny study in ``folder``/out; only if ``fresh``, it trains a baseline that an earlier one trained."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = load_study(write_study(folder, text), overrides)
    out = folder / "out"
    keys = {trial.baseline_key for trial in plan.trials}
    for trained in () if fresh else TRAINED:
        _copy_missing(keys, trained, out / "baselines")
    outcome = run_study(plan, out, watch or Watch(), num_evaluators=evaluators)
    for trained in TRAINED:
        _copy_missing(keys, out / "baselines", trained)
    return outcome, out


def _copy_missing(keys: set[str], there: Path, here: Path) -> None:
    for key in keys:
        if (there / key).is_dir() and not (here / key).is_dir():
            aside = here / f"{key}.{os.getpid()}"
            shutil.copytree(there / key, aside)
            try:
                aside.rename(here / key)
            except OSError:  # another process of this test run was faster
                shutil.rmtree(aside)


def begin(done: Path, folder: Path) -> Path:
    """A folder with a study's baselines and memo, so that nothing is trained or scored twice."""
    for name in ("baselines", "memo"):
        shutil.copytree(done / name, folder / "out" / name)
    return folder


def comparable(tables: Tables) -> dict[str, pd.DataFrame]:
    """The six tables without what a run cost."""
    frames = {
        "trial": tables.trials,
        "layers": tables.layers,
        "updates": tables.updates,
        "candidates": tables.candidates,
        "joint": tables.joint,
        "low_rank": tables.low_rank,
    }
    return {name: frame.drop(columns=list(COST_COLUMNS[name])) for name, frame in frames.items()}


def assert_same_rows(one: Path, other: Path) -> None:
    """Every column but the costs is equal to the last bit."""
    left, right = comparable(read_study(one)), comparable(read_study(other))
    for name, frame in left.items():
        assert len(frame) > 0 or name in ("joint", "low_rank"), name
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, obj=name)
