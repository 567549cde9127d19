"""A pool on a cluster that others use, too: it takes what they leave, and says so."""

from __future__ import annotations

from tests.launch.keeping import Cluster, nothing, pool


def test_a_second_study_waits_for_room_saying_so() -> None:
    """Another program has all GPUs; nothing fails, and the first that becomes free is used."""
    cluster = Cluster("a", "b", "c")
    cluster.others = {f"id-{name}": {"GPU": 1.0} for name in "abc"}
    keeper, told = pool(cluster, lambda: 100)
    leaves = [lambda: cluster.others.pop("id-b")]
    cluster.on_sleep = [*[nothing] * 20 * 120, *leaves]
    keeper.begin(nothing)
    assert cluster.created == cluster.roster == ["evaluator-0"]
    assert told == [
        "waiting for 1 evaluator (cuda): the cluster has no room for one on its 3 nodes beside what is in use; "
        "room that becomes free and nodes that join are used",
        "1 evaluator (cuda) on b; the rest of the cluster is in use",
    ]
    cluster.others = {}
    cluster.wait_for(keeper)
    assert len(cluster.roster) == 3
    assert told[-1] == "3 evaluators (cuda) on 3 nodes: a (1), b (1), c (1)"


def test_a_second_study_takes_what_is_free_and_begins_with_it_at_once() -> None:
    cluster = Cluster("a", "b", "c")
    cluster.others = {"id-c": {"GPU": 1.0}}
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    assert cluster.time < 10.0
    assert cluster.created == cluster.roster == ["evaluator-0", "evaluator-1"]
    assert told == ["2 evaluators (cuda) on 2 nodes: a (1), b (1); the rest of the cluster is in use"]


def test_what_others_take_later_leaves_the_pool_as_it_is() -> None:
    cluster = Cluster("a", "b")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.join("c")
    cluster.others = {"id-c": {"GPU": 1.0}}
    cluster.wait_for(keeper)
    assert cluster.created == cluster.roster == ["evaluator-0", "evaluator-1"]
    assert told == ["2 evaluators (cuda) on 2 nodes: a (1), b (1)"]


def test_an_evaluator_that_lost_its_room_to_others_is_not_at_work() -> None:
    """Its process died, and another program was faster."""
    cluster = Cluster("a", "b")
    keeper, told = pool(cluster, lambda: 100)
    keeper.begin(nothing)
    cluster.seats.pop("evaluator-1")
    cluster.others = {"id-b": {"GPU": 1.0}}
    cluster.wait_for(keeper)
    assert told[1:] == ["1 evaluator (cuda) on a; the rest of the cluster is in use"]
    cluster.others = {}
    cluster.wait_for(keeper)
    assert told[2:] == ["2 evaluators (cuda) on 2 nodes: a (1), b (1)"]
    assert cluster.created == ["evaluator-0", "evaluator-1"]


def test_a_number_that_others_leave_no_room_for() -> None:
    cluster = Cluster("a", "b", "c")
    cluster.others = {"id-a": {"GPU": 1.0}}
    keeper, told = pool(cluster, min=None, max=None, count=3)
    keeper.begin(nothing)
    assert cluster.roster == ["evaluator-0", "evaluator-1"]
    assert told == ["2 evaluators (cuda) on 2 nodes: b (1), c (1); the rest of the cluster is in use"]
