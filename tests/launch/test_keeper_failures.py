"""A pool whose evaluators do not start, stand still, or leave; and a store that does not answer."""

from __future__ import annotations

import json

import pytest

from raprune.evaluators.pulse import START_S
from raprune.launch.bulletin import MOST_ALIKE
from raprune.launch.failures import MOST_PAUSE_S, STARTS
from raprune.launch.keeper import GREET_S, LEAVE_S
from tests.launch.keeping import Cluster, nothing, pool


def test_starts_that_fail_for_days_end_nothing_while_another_works() -> None:
    """Each pause is twice as long as the one before it, which no clock can follow for ever."""
    cluster = Cluster("a")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.refused = {"b"}
    cluster.join("b")
    for _ in range(3600):
        cluster.time += 30.0
        keeper.look()
    assert len(cluster.killed) > 1100
    assert cluster.roster == ["evaluator-0"]
    assert sum("cannot be used" in text for text in told) == 1


def test_reasons_that_differ_in_numbers_only_do_not_fill_the_console() -> None:
    """As memory that another program has taken on the same GPU."""
    cluster = Cluster("a", "b")
    keeper, told = pool(cluster, lambda: 1)
    keeper.begin(nothing)
    cluster.cannot_start = "x"
    cluster.lose("a")
    for number in range(100):
        cluster.cannot_start = f"CUDA out of memory: {number} MiB are free"
        cluster.wait_for(keeper, 61.0)
    assert 1 < sum("cannot be used" in text for text in told) <= MOST_ALIKE


def test_a_machine_that_differs_is_waited_beside() -> None:
    """The last good machine goes, and Ray restarts its evaluator on the one that differs: no reason to end."""
    cluster = Cluster("a")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.refused = {"b"}
    cluster.join("b")
    cluster.avoided = lambda: keeper.avoided
    cluster.wait_for(keeper)
    cluster.lose("a")
    cluster.wait_for(keeper, 3600.0)
    assert json.loads(cluster.store["pool"]) == [[], ""]
    assert told[-1] == "waiting for 1 evaluator (cuda): it could not be started: node b cannot be used; a was lost"
    cluster.join("c")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 1


def test_a_pool_that_worked_ends_after_six_starts_in_vain() -> None:
    """Those that failed while others worked do not count."""
    cluster = Cluster("a")
    keeper, _ = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.refused = {"b"}
    cluster.join("b")
    cluster.wait_for(keeper, 600.0)
    cluster.cannot_start = "no space left on device"
    cluster.lose("a", "b")
    cluster.join("c")
    cluster.wait_for(keeper, (STARTS - 2) * MOST_PAUSE_S)
    assert json.loads(cluster.store["pool"]) == [[], ""]
    cluster.wait_for(keeper, 4 * MOST_PAUSE_S)
    assert "no space left on device" in json.loads(cluster.store["pool"])[1]


def test_a_roster_that_was_not_stored_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the evaluators that joined in this moment are never called."""
    cluster = Cluster("a")
    keeper, _ = pool(cluster, lambda: 100)
    with monkeypatch.context() as head:
        head.setattr(cluster, "write", lambda *key, **how: False)
        keeper.begin(nothing)
    cluster.wait_for(keeper)
    assert cluster.roster == ["evaluator-0"]


def test_one_that_stands_still_before_its_first_sign_of_life_is_replaced() -> None:
    """As where its machine's file system hangs while Python reads modules from it."""
    cluster = Cluster("a")
    cluster.silent = {0}
    keeper, told = pool(cluster, lambda: 1)
    cluster.wait_for(keeper, START_S + 60.0)
    assert cluster.killed == ["evaluator-0"]
    assert cluster.roster == ["evaluator-1"]
    assert told[0] == "evaluator-0 cannot be used: its process on a has given no sign of life for 10 minutes"


def test_one_that_leaves_ends_behind_its_last_call() -> None:
    """A greeting that was sent before it left may be answered before that call."""
    cluster, left = Cluster("a", "b"), [2]
    keeper, _ = pool(cluster, lambda: left[0])
    keeper.begin(nothing)
    cluster.wait_for(keeper, GREET_S - 1.0)
    first = len(cluster.calls)
    cluster.silent = set(range(first, first + 100))
    cluster.wait_for(keeper, 3.0)
    before = set(range(first, len(cluster.calls)))
    assert before
    left[0] = 1
    cluster.wait_for(keeper, LEAVE_S + 2.0)
    cluster.silent -= before
    cluster.wait_for(keeper, 10.0)
    assert cluster.created == ["evaluator-0", "evaluator-1"]
    cluster.silent = set()
    cluster.wait_for(keeper, 10.0)
    assert cluster.created == ["evaluator-0"]
