"""A search on a real Ray cluster: the pool counts the trials of every round."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from raprune.launch import on_ray, run_study
from raprune.launch.base import Launch
from raprune.launch.in_flight import short_rounds, useful_evaluators
from raprune.launch.metrics import Gauged
from raprune.launch.resources import resources_for
from raprune.launch.rounds import rounds_of
from raprune.results import read_study
from raprune.study import StudyPlan, TrialSpec, load_study
from tests.launch.runs import Watch, assert_same_rows
from tests.tiny import write_study

SEARCH = """\
name: searched
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 100, num_test: 100}
baseline: {epochs: 1, learning_rate: 0.02, batch_size: 32}
finetune: {after_layer: {steps: 2}}
method: {name: agent, min_updates: 2, max_updates: 2}
layers: [features.37, features.40]
guard: 0
search: {over: {drop_bound: {low: 20.0, high: 40.0}}, sampler: random, trials: 2, at_once: 1}
"""
UNMATCHED = ["sweep.method=[{name: agent, min_updates: 4, max_updates: 4}, magnitude]"]


def searched(folder: Path, *overrides: str) -> StudyPlan:
    (folder / "s.yaml").write_text(SEARCH)
    return load_study(folder / "s.yaml", overrides)


class Counting(Watch):
    """Notes for how many trials the pool was kept when each of them committed its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.kept_for = 0
        self.seen: dict[str, int] = {}

    def useful(self, trials: Iterable[TrialSpec], device_type: str) -> int:
        left = list(trials)
        self.kept_for = len(left)
        return useful_evaluators(left, device_type)

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        if "committed_pruning_ratio" in progress:
            self.seen.setdefault(trial_id, self.kept_for)


@pytest.mark.slow
def test_trials_of_later_rounds_count_for_the_pool(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a pool that follows its cluster gives its evaluators back after the first round."""
    watch = Counting()
    monkeypatch.setattr(on_ray, "useful_evaluators", watch.useful)
    monkeypatch.setattr("raprune.launch.keeper.LOOK_S", 0.0)
    sizes: list[int] = []
    monkeypatch.setattr(Gauged, "follow", lambda _, evaluators: sizes.append(evaluators))
    outcome = run_study(searched(tmp_path, "evaluators={min: 1, max: 1}"), tmp_path / "out", watch)
    assert outcome.summary() == "2 completed"
    assert list(watch.seen.values()) == [1, 1]
    assert (max(sizes), sizes[-1]) == (1, 0)  # a program that goes on after the study has no evaluators left
    assert run_study(searched(tmp_path), tmp_path / "alone", Watch(), num_evaluators=0).exit_code == 0
    assert_same_rows(tmp_path / "alone", tmp_path / "out")
    assert read_study(tmp_path / "out").trials["drop_bound"].nunique() == 2


def test_trials_that_a_search_suggests_count_for_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a cluster: what the driver counts while Tune runs a later round."""
    plan = searched(tmp_path, "search.trials=3", "search.at_once=3", "evaluators={min: 1, max: 99}")
    searched_trials = rounds_of(plan, tmp_path, str).next(lambda trial: True)
    first, later = searched_trials[:1], searched_trials[1:]
    resources = resources_for([], plan.spec.evaluators, "auto", 1)
    runner = on_ray.RayRunner(Launch(plan, tmp_path, first, "auto"), resources, "unused", Watch())
    counted: list[int] = []
    monkeypatch.setattr(on_ray, "run_tune", lambda *_: counted.append(runner._useful()))
    runner.run(first, plan, Watch())
    for trial in first:
        runner.ended(trial.trial_id)
    runner.run(later, plan, Watch())
    assert counted == [5, 10]  # five masks an update


def test_rounds_that_are_short_for_the_pool_are_told(tmp_path: Path) -> None:
    """Five masks an update: 16 evaluators run ten trials at once."""
    plan = searched(tmp_path)
    said = short_rounds(plan.spec, plan.trials, 16)
    assert said.startswith("search.at_once is 1, and this pool can run 10 trials at once: evaluators wait for the last")
    assert short_rounds(plan.spec, plan.trials, 1) == ""
    wide = searched(tmp_path, "search.at_once=10", "search.trials=10")
    assert short_rounds(wide.spec, wide.trials, 16) == ""
    paced = load_study(write_study(tmp_path), ["scheduler=asha", *UNMATCHED])
    assert "scheduler.at_once is 4" in short_rounds(paced.spec, paced.trials, 16)
    swept = load_study(write_study(tmp_path))
    assert short_rounds(swept.spec, swept.trials, 16) == ""
