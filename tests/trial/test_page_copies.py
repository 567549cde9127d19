"""A trial that ends leaves its network's copy for the page, and the baseline's where it is not there yet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raprune.engine.tasks import Task
from raprune.engine.workload import Baseline
from raprune.evaluators.base import Evaluator
from raprune.network.state import State
from raprune.results import read_page_copy
from raprune.results.page_copy import PAGE_COPY_FILE
from raprune.trial.page_copies import write_page_copies
from tests.results.test_page_copy import SOUND


def test_every_trial_of_a_study_leaves_one(reference: Path) -> None:
    (baseline,) = (reference / "baselines").iterdir()
    weights = json.loads((baseline / "baseline.json").read_text())["weights_fingerprint"]
    whole = read_page_copy(baseline)
    assert whole is not None
    trials = list((reference / "trials").iterdir())
    assert trials
    for trial in trials:
        copy = read_page_copy(trial / "model")
        assert copy is not None
        assert copy["baseline"] == whole["baseline"] == weights
        plan = json.loads((trial / "model" / "plan.json").read_text())
        for step in copy["steps"]:
            if step["op"] == "conv":
                mask = plan["keep_masks"].get(step["layer"], [True] * step["num_filters"])
                assert step["kept"] == [place for place, kept in enumerate(mask) if kept]


class Told(Evaluator):
    """Gives the same copy for every state, and remembers which were asked for."""

    def __init__(self, copy: dict[str, Any] | None) -> None:
        self.copy = copy
        self.asked: list[State] = []

    def run(self, task: Task[Any], state: State) -> Any:
        self.asked.append(state)
        return self.copy

    def evaluate(self, *args: Any) -> Any:
        raise AssertionError("it scores nothing")


@pytest.fixture
def baseline(reference: Path, tmp_path: Path) -> Baseline:
    (folder,) = (reference / "baselines").iterdir()
    found = Baseline.read(folder)
    assert found is not None
    (tmp_path / "baseline").mkdir()
    return replace(found, folder=str(tmp_path / "baseline"))


def test_the_baselines_is_written_once_for_its_weights(baseline: Baseline, tmp_path: Path) -> None:
    cut, model = State(baseline.key, {}, {"x": None}), tmp_path / "model"  # type: ignore[dict-item]
    model.mkdir()
    told = Told(SOUND)
    write_page_copies(told, baseline, cut, model)
    assert [state is cut for state in told.asked] == [True, False]
    write_page_copies(told, baseline, cut, model)
    assert len(told.asked) == 3
    (Path(baseline.folder) / PAGE_COPY_FILE).write_text("{")
    write_page_copies(told, baseline, cut, model)
    assert len(told.asked) == 5
    write_page_copies(told, replace(baseline, weights_fingerprint="other"), cut, model)
    assert len(told.asked) == 7
    found = read_page_copy(Path(baseline.folder))
    assert found is not None
    assert found["baseline"] == "other"


def test_where_there_is_none_an_earlier_one_goes(baseline: Baseline, tmp_path: Path) -> None:
    (tmp_path / PAGE_COPY_FILE).write_text("{}")
    write_page_copies(Told(None), baseline, State.baseline(baseline.key), tmp_path)
    assert not (tmp_path / PAGE_COPY_FILE).exists()
    assert not (Path(baseline.folder) / PAGE_COPY_FILE).exists()
