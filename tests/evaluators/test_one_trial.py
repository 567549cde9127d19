"""How busy one trial keeps a pool: recorded with the sizes of its calls, replayed on the simulated cluster."""

from __future__ import annotations

import math

import pytest

from benchmarks.one_trial import CANDIDATE_S, FILE, busy, deciding
from benchmarks.simulator.recorded import Trial, _calls, read


@pytest.fixture(scope="module")
def trials() -> dict[str, Trial]:
    return {trial.about: deciding(trial) for trial in read(None, CANDIDATE_S, file=FILE)}


def test_a_call_is_an_update_or_what_a_decision_asks_for_at_once() -> None:
    assert _calls([0, 0, 0, 1, 1, math.nan, math.nan, math.nan], 2) == [0, 0, 0, 1, 1, 2, 2, 3]
    assert _calls([math.nan] * 3, 1) == [0, 1, 2]


def test_search_keeps_two_evaluators_busy_where_trim_keeps_one(trials: dict[str, Trial]) -> None:
    trim, search = (trials[f"decision {name}, method taylor"] for name in ("trim", "search"))
    assert {len(call) for layer in trim.layers for call in layer.calls} == {1}
    assert max(len(call) for layer in search.layers for call in layer.calls) == 2
    assert busy(trim, 2) < 0.5
    assert busy(search, 2) > 1.5 * busy(trim, 2)
    assert busy(search, 1) > 0.98
