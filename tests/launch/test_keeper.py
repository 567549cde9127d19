"""The pool follows a cluster whose nodes come and go; the cluster is a few lines of Python."""

from __future__ import annotations

import pytest

from raprune.errors import EvaluatorError
from raprune.evaluators.backend import LostError, Node
from raprune.launch.failures import STARTS
from raprune.launch.keeper import LOOK_S, STARTING_S, Keeper
from raprune.launch.resources import resources_for
from raprune.study.parts import EvaluatorsSpec
from tests.launch.keeping import GPU, Cluster, nothing, pool


def test_grows_and_shrinks_with_the_cluster() -> None:
    cluster = Cluster("a")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    assert cluster.roster == ["evaluator-0"]
    cluster.join("b", "c")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 3
    cluster.lose("a")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 2
    assert {seat.host for seat in keeper.serving} == {"b", "c"}
    assert told == [
        "1 evaluator (cuda) on a",
        "3 evaluators (cuda) on 3 nodes: a (1), b (1), c (1); b joined; c joined",
        "2 evaluators (cuda) on 2 nodes: b (1), c (1); a was lost",
    ]
    keeper.close(1.0)
    assert not cluster.created


def test_a_node_that_joins_is_in_use_after_two_looks() -> None:
    """Seconds of the cluster's own clock; the start of a process comes to it (on Ray some seconds)."""
    cluster = Cluster("a")
    keeper, _ = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.wait_for(keeper)
    cluster.join("b")
    cluster.wait_for(keeper, 2 * LOOK_S + STARTING_S)
    assert cluster.roster == ["evaluator-0", "evaluator-1"]


def test_one_machine_for_another_keeps_the_evaluator() -> None:
    """It restarts there, under its name."""
    cluster = Cluster("a")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.lose("a")
    cluster.join("b")
    cluster.wait_for(keeper)
    assert cluster.roster == ["evaluator-0"]
    assert told[-1] == "1 evaluator (cuda) on b; b joined; a was lost"


def test_waits_for_gpus_and_says_so() -> None:
    cluster = Cluster()
    cluster.join("head", CPU=4.0, GPU=0.0)
    keeper, told = pool(cluster, lambda: 100, min=2)
    hours = [nothing] * 20 * 3600
    cluster.on_sleep = [*hours, lambda: cluster.join("a"), *[nothing] * 2000, lambda: cluster.join("b")]
    keeper.begin(nothing)
    assert cluster.time > 3600
    assert len(cluster.roster) == 2
    assert told == [
        "waiting for 2 evaluators (cuda): the cluster has no room for one on its 1 node; nodes that join are used",
        "waiting for 2 evaluators (cuda): the cluster has room for 1 on its 2 nodes; nodes that join are used; "
        "a joined",
        "2 evaluators (cuda) on 2 nodes: a (1), b (1); b joined",
    ]
    cluster.lose("a", "b")
    cluster.wait_for(keeper)
    assert "no room for one" in told[-1]
    cluster.join("c", "d")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 2


def test_asks_for_what_it_can_use_and_gives_the_rest_back() -> None:
    cluster, left = Cluster("a", "b", "c", "d"), [3]
    keeper, told = pool(cluster, lambda: left[0])
    keeper.begin(nothing)
    assert len(cluster.roster) == 3
    assert cluster.requests == [[{"GPU": 1.0}] * 3]
    left[0] = 40
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 4
    assert len(cluster.requests[-1]) == 8
    left[0] = 1
    cluster.wait_for(keeper)
    assert cluster.roster == ["evaluator-0"]
    assert cluster.created == ["evaluator-0"]
    assert told[-1] == "1 evaluator (cuda) on a; fewer are of use"
    keeper.close(1.0)
    assert cluster.requests[-1] == []


def test_one_that_was_to_leave_stays_if_it_is_of_use_again() -> None:
    """As between two rounds of a search: its machine need not load everything anew."""
    cluster, left = Cluster("a", "b"), [2]
    keeper, told = pool(cluster, lambda: left[0])
    keeper.begin(nothing)
    cluster.wait_for(keeper, 20)
    left[0] = 0
    cluster.wait_for(keeper, 3)
    assert cluster.roster == ["evaluator-0"]
    left[0] = 2
    cluster.wait_for(keeper)
    assert cluster.roster == cluster.created == ["evaluator-0", "evaluator-1"]
    assert told[-1] == "2 evaluators (cuda) on 2 nodes: a (1), b (1)"


def test_a_request_that_is_not_answered_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool works meanwhile, and ends without an answer."""
    cluster = Cluster("a", "b")
    keeper, _ = pool(cluster, lambda: 5)

    def silent(bundles: object) -> None:
        raise LostError("the cluster's head does not answer")

    with monkeypatch.context() as head:
        head.setattr(cluster, "request", silent)
        keeper.begin(nothing)
        assert len(cluster.roster) == 2
        assert cluster.requests == []
    cluster.wait_for(keeper)
    assert cluster.requests == [[{"GPU": 1.0}] * 5]
    monkeypatch.setattr(cluster, "request", silent)
    keeper.close(1.0)
    assert not cluster.created


def test_a_number_stays_that_number() -> None:
    cluster = Cluster("a", "b")
    keeper, _ = pool(cluster, lambda: 1, min=None, max=None, count=2)
    keeper.begin(nothing)
    cluster.join("c")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 2
    assert cluster.requests == []
    cluster.lose("a", "b")
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 1
    cluster.join("d")
    cluster.wait_for(keeper)
    assert {seat.host for seat in keeper.serving} == {"c", "d"}


def test_none_that_starts_ends_the_study() -> None:
    cluster = Cluster("a")
    cluster.cannot_start = "no space left on device"
    keeper, told = pool(cluster, lambda: 1)
    with pytest.raises(EvaluatorError, match=r"no evaluator can be started: .* no space left on device"):
        keeper.begin(nothing)
    assert len(cluster.killed) == STARTS
    assert "no space left on device" in told[0]


def test_a_node_on_which_none_can_start_is_told_once_and_tried_seldom() -> None:
    cluster = Cluster("a")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.refused = {"b"}
    cluster.join("b")
    cluster.wait_for(keeper, 600.0)
    assert cluster.roster == ["evaluator-0"]
    assert sum("node b cannot be used" in text for text in told) == 1
    assert 5 < len(cluster.killed) < 25
    cluster.refused = set()
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 2


def test_one_that_never_answers_is_started_again() -> None:
    cluster = Cluster("a")
    cluster.beats("evaluator-0", "id-a")
    cluster.silent = {0}
    keeper, _ = pool(cluster, lambda: 1)
    cluster.wait_for(keeper, 90.0)
    assert cluster.killed == ["evaluator-0"]


def test_cards_of_two_types_are_named() -> None:
    cluster = Cluster()
    cluster.there = [Node(n, n, GPU, {"card": card}) for n, card in [("a", "A100"), ("b", "T4"), ("c", "T4")]]
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    assert "GPUs of 2 types: A100 (1), T4 (2): scores may differ" in told[-1]


def test_waits_for_what_it_needs_by_its_name() -> None:
    """A type that is misspelt would else be waited for without a hint."""
    cluster = Cluster()
    cluster.join("a", **GPU, **{"accelerator_type:T4": 1.0})
    keeper, told = pool(cluster, lambda: 1, accelerator_type="a100")
    cluster.wait_for(keeper)
    assert told == [
        "waiting for 1 evaluator (cuda): the cluster has no GPU of type a100 (it has T4) on its 1 node; "
        "nodes that join are used"
    ]
    eight = resources_for([], EvaluatorsSpec(min=1, device="cpu"), "auto", 8)
    Keeper(cluster, eight, told.append).look()
    assert "the cluster has no 8 cores together on its 1 node" not in told[-1]  # it has
    cluster.there = [Node("n", "n", {"CPU": 4.0})]
    Keeper(cluster, eight, told.append).look()
    assert "the cluster has no 8 cores together on its 1 node; nodes that join are used" in told[-1]
