"""A pool on a cluster that is a few lines of Python, whose nodes come and go."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from raprune.evaluators.backend import Node
from raprune.launch.keeper import Keeper
from raprune.launch.resources import resources_for
from raprune.study.parts import EvaluatorsSpec
from tests.evaluators.plain import Plain

GPU = {"CPU": 8.0, "GPU": 1.0}


class Cluster(Plain):
    """No machine, at first."""

    def __init__(self, *nodes: str) -> None:
        super().__init__()
        self.there = []
        self.join(*nodes)

    def join(self, *names: str, **resources: float) -> None:
        self.there = [*self.there, *(Node(f"id-{name}", name, resources or GPU) for name in names)]

    def lose(self, *names: str) -> None:
        self.there = [node for node in self.there if node.name not in names]

    @property
    def roster(self) -> list[str]:
        return list(json.loads(self.store.get("pool", '[[], ""]'))[0])

    def wait_for(self, keeper: Keeper, seconds: float = 120.0) -> None:
        end = self.time + seconds
        while self.time < end:
            keeper.look()
            self.time += 0.1


def pool(cluster: Cluster, useful: Callable[[], int] | None = None, **spec: Any) -> tuple[Keeper, list[str]]:
    told: list[str] = []
    settings = EvaluatorsSpec(**({"min": 1, "max": 8, "device": "cuda"} | spec))
    found = resources_for(cluster.there, settings, settings.count, 1)
    return Keeper(cluster, found, told.append, useful if found.follows else None), told


def nothing() -> None: ...
