"""How many evaluators fit beside what others have reserved."""

from __future__ import annotations

from typing import Any

import pytest

from raprune.evaluators.backend import Node
from raprune.evaluators.ray_backend import RayBackend
from raprune.launch.keeper import Keeper
from raprune.launch.resources import resources_for
from raprune.launch.room import vacancies
from raprune.study.parts import EvaluatorsSpec
from tests.waiting import until

GPUS = Node("g", "g", {"CPU": 8.0, "GPU": 2.0, "accelerator_type:T4": 1.0})


@pytest.mark.parametrize(
    ("share", "held", "free", "number"),
    [
        (1.0, 0, 2.0, 2),
        (1.0, 1, 1.0, 1),
        (1.0, 0, 0.5, 0),
        (0.6, 0, 2.0, 2),
        (0.6, 2, 0.8, 0),  # 0.4 on each
        (0.6, 1, 1.4, 1),
        (0.5, 1, 1.5, 3),
        (0.5, 0, 1.0, 2),
        (0.4, 0, 1.5, 3),  # another program's 0.5 leaves one, the other GPU holds two
        (0.3, 0, 0.0, 0),
        (0.3333, 3, 1.0001, 3),
    ],
)
def test_shares_of_gpus(share: float, held: int, free: float, number: int) -> None:
    resources = resources_for([GPUS], EvaluatorsSpec(gpu_share=share, device="cuda"), "auto", 1)
    assert vacancies(resources, [GPUS], {"g": {"GPU": free}}, {"g": held}) == number


def test_only_gpus_of_the_wanted_type() -> None:
    resources = resources_for([], EvaluatorsSpec(accelerator_type="A100", device="cuda", min=1), "auto", 1)
    assert vacancies(resources, [GPUS], {"g": {"GPU": 2.0}}, {}) == 0


@pytest.mark.parametrize(
    ("free", "threads", "number"),
    [
        ([2.0], 1, 2),
        ([1.0], 1, 1),
        ([0.9], 1, 0),
        ([0.9, 0.2], 1, 1),
        ([3.9, 3.9], 2, 4),
        ([1.8, 1.8], 2, 0),
        ([], 1, 0),
    ],
)
def test_cores_with_a_trial_beside(free: list[float], threads: int, number: int) -> None:
    nodes = [Node(str(place), "", {"CPU": 8.0}) for place in range(len(free))]
    resources = resources_for([Node("", "", {"CPU": 8.0})], EvaluatorsSpec(), "auto", threads)
    given = {str(place): {"CPU": cpus} for place, cpus in enumerate(free)}
    assert vacancies(resources, nodes, given, {}) == number


class Seated:
    """An evaluator that loads nothing."""

    def join(self) -> list[tuple[str, str, str]]:
        import ray

        return [(ray.get_runtime_context().get_node_id(), "here", "")]

    def let_go(self) -> None: ...


def keeper(namespace: str, told: list[str]) -> Keeper:
    import ray

    def make(name: str) -> Any:
        options = {**resources.options, "name": name, "namespace": namespace}
        return ray.remote(Seated).options(**options, max_restarts=-1).remote()

    backend = RayBackend(namespace, make)
    resources = resources_for(backend.nodes(), EvaluatorsSpec(min=1, max=8, device="cpu"), "auto", 1)
    return Keeper(backend, resources, told.append, lambda: 8)


@pytest.mark.slow  # test_keeper_shared.py shows both sides of it without a cluster
def test_two_studies_share_a_cluster(ray_cluster: None) -> None:
    """On a real Ray: the second one waits, saying so, and begins as soon as the first has ended."""
    told: dict[str, list[str]] = {"one": [], "two": []}
    first, second = (keeper(f"raprune-room-{name}", told[name]) for name in told)
    try:
        first.begin(lambda: None)
        assert len(first.at_work) == 2
        until(lambda: second.look() or told["two"])
        assert "no room for one on its 1 node beside what is in use" in told["two"][0]
        first.close(1.0)
        second.begin(lambda: None)
        assert second.at_work
    finally:
        first.close(1.0)
        second.close(1.0)
