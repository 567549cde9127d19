"""What a person sees while a study runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raprune.console import progress
from raprune.console.progress import StudyProgress
from raprune.console.trials import TrialProgress
from raprune.study.wording import counted


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> tuple[StudyProgress, io.StringIO, list[float]]:
    """One trial of two layers, what is printed, and the clock."""
    now, out = [1000.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    found = StudyProgress(Console(file=out, width=200), {"a": TrialProgress("agent", 100, 2)}, started=1000.0)
    found.phase("")
    return found, out, now


def committed(step: int) -> dict[str, Any]:
    place = {"layer": f"conv{step}", "num_layers": 2, "prune_step": step}
    return place | {"pruning_ratio": 0.5, "new_candidates": 50, "searched_s": 20.0, "committed_s": 10.0}


def head(of: StudyProgress) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(of)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()[0]


def test_the_time_left_is_told_where_it_is_known(seen: tuple[StudyProgress, io.StringIO, list[float]]) -> None:
    """30 seconds a layer, and as much again for what a trial does around its layers."""
    study, out, now = seen
    assert "left" not in head(study)
    assert "0 of 1 trial" in head(study)
    now[0] = 1030.0
    study.told("a", committed(1))
    assert out.getvalue().splitlines()[-1].endswith("1.7 candidates/s, 1:00 left")
    now[0] = 1060.0
    study.told("a", committed(2))
    assert out.getvalue().splitlines()[-1].endswith("1.7 candidates/s, 0:30 left")
    now[0] = 1090.0
    study.ended("a", "completed", Path("x"))
    assert head(study).endswith("1 of 1 trial  1.1 candidates/s  finishing")
    assert out.getvalue().splitlines()[-1] == "1:30  completed: agent: 50.0% of filters pruned"
    assert "?" not in out.getvalue() + head(study)


def test_a_joint_pass_is_told_by_its_number(seen: tuple[StudyProgress, io.StringIO, list[float]]) -> None:
    study, out, now = seen
    study.trials["a"].passes = 3
    study.told("a", committed(2))
    now[0] = 1060.0
    study.told("a", {"layer": "all layers", "joint_step": 1, "num_layers": 2, "prune_step": 2, "pruning_ratio": 0.6})
    assert "agent: all layers (joint pass 1 of at most 3) " in out.getvalue().splitlines()[-1]


def test_lines_are_few(seen: tuple[StudyProgress, io.StringIO, list[float]]) -> None:
    """A committed layer is a line at most every 30 seconds; no line carries an escape code."""
    study, out, now = seen
    for step in range(1, 100):
        now[0] += 1.0
        study.told("a", committed(step))
    assert [line[:4] for line in out.getvalue().splitlines()] == ["0:01", "0:31", "1:01", "1:31"]
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(("has_budget", "said"), [(True, "the budget is spent: agent"), (False, "stopped: agent")])
def test_only_a_budget_is_spent(
    seen: tuple[StudyProgress, io.StringIO, list[float]], has_budget: bool, said: str
) -> None:
    study, out, _ = seen
    study.has_budget = has_budget
    study.told("a", committed(1))
    study.ended("a", "stopped", Path("x"))
    assert said in out.getvalue()


def test_counts_agree_with_nouns() -> None:
    assert [counted(n, "trial") for n in (0, 1, 2, 2000)] == ["0 trials", "1 trial", "2 trials", "2,000 trials"]
