"""The seconds of fine-tunes and of looks at the guard, by a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from raprune.engine.tasks import Finetune, Look, Measure
from raprune.network.state import State
from raprune.trial.clock import Clocked, seconds_of, seconds_since, seconds_so_far

STATE = State.baseline("baseline")


class Slow:
    """An evaluator whose work takes as many seconds as it is told."""

    def __init__(self) -> None:
        self.now, self.takes = 0.0, 0.0

    def evaluate(self, *arguments: Any) -> list[Any]:
        self.now += self.takes
        return list(arguments)

    def run(self, task: Any, state: State) -> Any:
        self.now += self.takes
        if task == Measure("test"):
            raise ValueError("no test")
        return task, state


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def clocked(slow: Slow) -> Clocked:
    return Clocked(slow, lambda: slow.now)  # type: ignore[arg-type]


def test_each_kind_of_work_has_its_seconds(slow: Slow, clocked: Clocked) -> None:
    for task, takes in ((Finetune("commit", "a"), 2.0), (Finetune("final", "a"), 0.5), (Look(), 4.0)):
        slow.takes = takes
        assert clocked.run(task, STATE) == (task, STATE)
    assert seconds_so_far(clocked) == {"finetune_s": 2.5, "guard_s": 4.0}
    slow.takes = 8.0
    with pytest.raises(ValueError, match="no test"):
        clocked.run(Measure("test"), STATE)
    assert clocked.evaluate(STATE, "layer", [], None) == [STATE, "layer", [], None, None]
    assert seconds_so_far(clocked) == {"finetune_s": 2.5, "guard_s": 4.0}


def test_a_part_has_what_was_spent_in_it(slow: Slow, clocked: Clocked) -> None:
    slow.takes = 1.0
    clocked.run(Look(), STATE)
    before = seconds_so_far(clocked)
    clocked.run(Look(), STATE)
    clocked.run(Finetune("commit", "a"), STATE)
    assert seconds_since(before, clocked) == {"finetune_s": 1.0, "guard_s": 1.0}


def test_a_resumed_trial_adds_what_earlier_sessions_took(slow: Slow, clocked: Clocked) -> None:
    slow.takes = 1.0
    clocked.run(Look(), STATE)
    rows = [{"finetune_s": 3.0, "guard_s": 0.25}, {"finetune_s": 0.5, "guard_s": 0.0}]
    assert seconds_of(rows, clocked) == {"finetune_s": 3.5, "guard_s": 1.25}
    unknown = [*rows, {"finetune_s": None}]
    assert seconds_of(unknown, clocked) == {"finetune_s": None, "guard_s": None}


def test_what_is_not_counted_is_unknown(slow: Slow) -> None:
    evaluator: Any = slow
    assert seconds_so_far(evaluator) == {}
    assert seconds_since({}, evaluator) == {"finetune_s": None, "guard_s": None}
