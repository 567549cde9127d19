"""A cluster that is a few lines of Python, on a clock of its own: calls end in the order of their making."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raprune.evaluators.backend import LostError, Node


class Plain:
    """A :class:`raprune.evaluators.backend.Backend`; its actors are their names."""

    def __init__(self) -> None:
        self.time = 0.0
        self.store: dict[str, str] = {}
        self.there = [Node("n0", "a", {"CPU": 2.0}), Node("n1", "b", {"CPU": 2.0})]
        self.fates: dict[str, list[Exception]] = {}
        """Actor -> what its next calls raise instead of an answer."""
        self.calls: list[tuple[str, str, list[Any]]] = []
        self.killed: list[str] = []
        self.created: list[str] = []
        self.requests: list[list[dict[str, float]]] = []
        self.on_sleep: list[Callable[[], object]] = []
        self.silent: set[int] = set()
        """Calls (by number) that never end."""
        self.seats: dict[str, Node] = {}
        """Evaluator -> where it runs; one that is not here waits for room."""
        self.refused: set[str] = set()
        """Nodes on which none can start."""
        self.others: dict[str, dict[str, float]] = {}
        """Node's id -> what other programs have reserved there."""
        self.share = 1.0
        """Of a GPU or a core, that an evaluator takes."""
        self.avoided: Callable[[], set[str]] = set
        """Nodes' ids on which the next evaluator must not start."""
        self._off: dict[str, set[str]] = {}
        self.cannot_start = ""
        """Why no evaluator can start."""

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.on_sleep:
            self.on_sleep.pop(0)()

    def call(self, actor: str, method: str, *arguments: Any) -> int:
        self.calls.append((actor, method, list(arguments)))
        return len(self.calls) - 1

    def wait(self, refs: Sequence[int], number: int, timeout_s: float) -> list[int]:
        self.place()
        ended = [ref for ref in sorted(refs) if not self._waits(ref)][:1]
        if not ended:
            self.time += timeout_s
        return ended

    def result(self, ref: int) -> Any:
        actor, method, arguments = self.calls[ref]
        if method == "join":
            return self._join(actor)
        if method != "ping" and self.fates.get(actor):
            raise self.fates[actor].pop(0)
        if actor in self.killed:
            raise LostError("it was ended")
        return [2 * item for item in arguments[0]] if method == "double" else [actor]

    def put(self, value: Any) -> Any:
        return value

    def find(self, name: str) -> str:
        return name

    def kill(self, actor: str, *, restart: bool) -> None:
        self.killed.append(actor)
        self.seats.pop(actor, None)
        if not restart and actor in self.created:
            self.created.remove(actor)

    def read(self, key: str) -> str | None:
        return self.store.get(key)

    def write(self, key: str, value: str, *, overwrite: bool = True) -> bool:
        if key in self.store and not overwrite:
            return False
        self.store[key] = value
        return True

    def nodes(self) -> list[Node]:
        return self.there

    def free(self) -> dict[str, dict[str, float]]:
        self.place()
        return {node.id: self._free(node) for node in self.there}

    def node_of(self, actor: str) -> str:
        self.place()
        return self.seats[actor].id if actor in self.seats else ""

    def here(self) -> str:
        return "n0"

    def create(self, name: str) -> str:
        self.created.append(name)
        self._off[name] = set(self.avoided())
        return name

    def request(self, bundles: Sequence[Mapping[str, float]]) -> None:
        self.requests.append([dict(bundle) for bundle in bundles])

    def place(self) -> None:
        """What Ray's scheduler does: an evaluator takes a GPU or a core of a node, and dies with its node."""
        self.seats = {name: node for name, node in self.seats.items() if node in self.there}
        for name in self.created:
            for node in (node for node in self.there if node.id not in self._off[name]):
                if name not in self.seats and self._free(node)[self._kind(node)] > self.share - 1e-9:
                    self.seats[name] = node

    def _kind(self, node: Node) -> str:
        return "GPU" if "GPU" in node.resources else "CPU"

    def _free(self, node: Node) -> dict[str, float]:
        taken = self.others.get(node.id, {})
        free = {name: number - taken.get(name, 0.0) for name, number in node.resources.items()}
        free.setdefault(self._kind(node), 0.0)
        free[self._kind(node)] -= self.share * sum(other == node for other in self.seats.values())
        return free

    def _waits(self, ref: int) -> bool:
        actor, method, _ = self.calls[ref]
        return ref in self.silent or (method == "join" and actor not in self.seats and not self.cannot_start)

    def _join(self, actor: str) -> list[tuple[str, str, str]]:
        if self.cannot_start:
            raise LostError(f"it could not be started: {self.cannot_start}", for_good=True)
        if actor not in self.seats:
            raise LostError("it restarts")
        node = self.seats[actor]
        if node.name in self.refused:
            self.store[f"{actor} refused"] = node.id
            raise LostError(f"it could not be started: node {node.name} cannot be used", for_good=True)
        return [(node.id, node.name, node.labels.get("card", ""))]

    def beats(self, name: str, node: str, **more: Any) -> None:
        self.store[name] = json.dumps({"host": "h", "process": 7, "node": node, "number": 1, **more})
