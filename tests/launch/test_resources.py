"""What a pool takes of a cluster, node by node: impossible requests are refused at once."""

from __future__ import annotations

import platform

import pytest

from raprune.errors import InputError
from raprune.evaluators.backend import Node
from raprune.launch.in_flight import trials_in_flight, useful_evaluators
from raprune.launch.resources import MARKET, Seat, evaluators_a_gpu, remarks, resources_for, trial_labels, where
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import write_study

CPU, TWO, FOUR = (Node("", "", {"CPU": 8.0, "GPU": gpus}) for gpus in (0.0, 2.0, 4.0))
SHARES = [(1.0, 1), (0.9, 1), (0.6, 1), (0.5, 2), (0.4, 2), (1 / 3, 3), (0.3333, 3), (0.25, 4), (0.2, 5), (0.1, 10)]


@pytest.mark.parametrize(("share", "number"), SHARES)
def test_a_share_lies_on_one_gpu(share: float, number: int) -> None:
    assert evaluators_a_gpu(share) == number


@pytest.mark.parametrize(
    ("nodes", "share", "number"),
    [([TWO], 0.6, 2), ([TWO, FOUR, CPU], 0.6, 6), ([TWO, FOUR], 0.4, 12), ([CPU, TWO], 1.0, 2), ([TWO], 0.5, 4)],
)
def test_gpus_of_several_machines(nodes: list[Node], share: float, number: int) -> None:
    spec = EvaluatorsSpec(gpu_share=share)
    assert resources_for(nodes, spec, "auto", 1).num_evaluators == number
    assert resources_for(nodes, spec, number, 1).options == {"num_gpus": share, "num_cpus": 0}
    with pytest.raises(InputError, match=rf"{number + 1} evaluators of .* do not fit: .* use --evaluators {number},"):
        resources_for(nodes, spec, number + 1, 1)


@pytest.mark.parametrize(
    ("cores", "threads", "number"),
    [([1.0], 1, 1), ([2.0, 2.0], 1, 4), ([4.0, 1.0], 2, 2), ([3.0, 3.0], 2, 2), ([8.0, 1.0, 1.0], 4, 2)],
)
def test_an_evaluator_lies_on_one_machine(cores: list[float], threads: int, number: int) -> None:
    nodes = [Node("", "", {"CPU": cpus}) for cpus in cores]
    assert resources_for(nodes, EvaluatorsSpec(), "auto", threads).num_evaluators == number


@pytest.mark.parametrize(("cores", "threads"), [([1.0, 1.0], 2), ([2.0], 4)])
def test_threads_that_no_machine_has_are_refused(cores: list[float], threads: int) -> None:
    nodes = [Node("", "", {"CPU": cpus}) for cpus in cores]
    for count in ("auto", 1):
        with pytest.raises(InputError, match=r"1 evaluator of .*: use --evaluators 0"):
            resources_for(nodes, EvaluatorsSpec(), count, threads)


def test_trials_in_flight_follow_the_calls(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """On GPUs the masks of an update share launches, so it is other trials that occupy the other GPUs."""
    trials = load_study(write_study(tmp_path)).trials
    assert trials_in_flight(trials, 8) == 5  # five masks an update, on five evaluators
    assert trials_in_flight(trials, 8, "cuda") == 24  # one launch an update
    assert useful_evaluators(trials, "cuda") == len(trials)
    assert useful_evaluators(trials) > len(trials)


def test_gpus_of_one_type() -> None:
    old, new = (Node("", "", {"CPU": 8.0, "GPU": 2.0, f"accelerator_type:{name}": 1.0}) for name in ("T4", "A100"))
    spec = EvaluatorsSpec(accelerator_type="A100")
    found = resources_for([old, new, new], spec, "auto", 1)
    assert found.num_evaluators == 4
    assert found.options == {"num_gpus": 1.0, "num_cpus": 0, "accelerator_type": "A100"}
    assert resources_for([old, new], EvaluatorsSpec(), "auto", 1).num_evaluators == 4
    cuda = spec.model_copy(update={"device": "cuda"})
    with pytest.raises(InputError, match=r"no GPU of type A100 \(it has T4\); with evaluators: \{min: 1, max: N\}"):
        resources_for([old], cuda, "auto", 1)
    assert resources_for([old], cuda.model_copy(update={"max": 4}), "auto", 1).device == "cuda"


@pytest.mark.parametrize(("low", "high", "number"), [(1, 512, 6), (None, 4, 4), (8, None, 8), (3, 3, 3)])
def test_a_range_always_fits(low: int | None, high: int | None, number: int) -> None:
    spec = EvaluatorsSpec(min=low, max=high)
    found = resources_for([TWO, FOUR, CPU], spec, "auto", 1)
    assert (found.num_evaluators, found.least) == (number, low or 1)
    assert found.follows
    assert found.room([TWO] * 999) == min(1998, high or 1998)
    assert resources_for([CPU], spec, "auto", 1).device == "cpu"
    assert resources_for([], spec.model_copy(update={"device": "cuda"}), "auto", 1).device == "cuda"
    assert not resources_for([TWO], spec, 2, 1).follows  # --evaluators 2


def test_trials_stay_off_spot_nodes() -> None:
    spot, steady, bare = (Node("", "", {"CPU": n}, labels) for n, labels in [(8, {MARKET: "spot"}), (8, {}), (0, {})])
    assert trial_labels([spot, steady]) == {MARKET: "!spot"}
    for nodes in ([steady, steady], [spot, spot], [spot, bare], []):
        assert trial_labels(nodes) == {}


def test_what_a_person_should_know_before() -> None:
    spot = Node("here", "a", {"CPU": 8.0}, {MARKET: "spot"})
    ranged = resources_for([spot], EvaluatorsSpec(max=4), "auto", 1)
    gpu, driver = remarks([spot], "here", ranged)
    assert "no GPU now" in gpu
    assert "runs on a spot node" in driver
    assert remarks([spot], "elsewhere", resources_for([spot], EvaluatorsSpec(), "auto", 1)) == []


def test_a_line_says_who_computes_and_where() -> None:
    here = Seat("1", platform.node())
    assert where([here], "cpu") == "1 evaluator (cpu) on this machine"
    assert where([Seat("1", "a"), Seat("1", "a")], "cuda") == "2 evaluators (cuda) on a"
    pool = [Seat(*name) for name in ("2b", "1a", "2b", "3c", "2b", "1a")]
    assert where(pool, "cuda") == "6 evaluators (cuda) on 3 nodes: a (2), b (3), c (1)"
    many = [Seat(str(node), f"n{node:02}") for node in range(20)]
    assert where(many, "cpu").endswith(" on 20 nodes: " + ", ".join(f"n{n:02} (1)" for n in range(8)) + ", and 12 more")
