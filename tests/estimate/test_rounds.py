"""Which trials an estimate counts, and which of them run together."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.preflight.estimate.rounds import rounds_of
from raprune.study import load_study
from tests.fuzz.small import STUDY
from tests.study.searched import study


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ((), [3, 3, 3, 3, 0]),
        (("search.trials=7", "search.at_once=4"), [4, 3, 0]),
        (("search.over={drop_bound: [2.0, 3.0], order: [low_to_high, random]}",), [3, 1, 0]),
    ],
)
def test_of_a_search_as_many_as_it_will_suggest(tmp_path: Path, changes: tuple[str, ...], sizes: list[int]) -> None:
    plan = study(tmp_path, *changes)
    rounds = rounds_of(plan)
    assert [len(some) for some in rounds] == sizes
    assert {trial.trial_id for some in rounds for trial in some} == {trial.trial_id for trial in plan.trials}


def test_of_a_sweep_all_at_once_or_in_rounds_of_its_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(STUDY)
    assert [len(some) for some in rounds_of(load_study(file))] == [1, 1]
    own = ("sweep={data_seed: [0, 1, 2]}", "method=magnitude")
    assert [len(some) for some in rounds_of(load_study(file, own))] == [3, 0]
    paced = load_study(file, [*own, "scheduler={name: asha, at_once: 2}"])
    assert [len(some) for some in rounds_of(paced)] == [2, 1, 0]
