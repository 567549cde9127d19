"""A simulated cluster as one of its processes sees it, which pays for its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.simulator.cluster import Cluster, Evaluator, Ref, Waiter
from raprune.evaluators.backend import Backend, LostError, Node
from raprune.evaluators.members import Turn


class SimulatedBackend(Backend):
    """The cluster as one of its processes sees it, which pays for its calls."""

    def __init__(self, cluster: Cluster) -> None:
        process = cluster.clock.current
        assert process is not None, "only a process of the clock has a backend"
        self._cluster, self._clock, self._process = cluster, cluster.clock, process
        self._owed = 0.0
        """Processor time that was used and has not passed yet."""
        self.called: set[str] = set()
        self.turn = Turn()
        """As of the address of a pool."""

    def connect(self) -> SimulatedBackend:
        """As an address of a pool does."""
        return self

    def now(self) -> float:
        return self._clock.now

    def sleep(self, seconds: float) -> None:
        self._wait(seconds, self._pay())

    def work(self, seconds: float) -> None:
        """Use a core of the trials' machine; the next calls are so much later."""
        self._owed += seconds

    def tell_driver(self, seconds: float) -> None:
        """Wait until the driver's loop has spent some time on this process."""
        self._wait(0.0, self._pay())
        self._wait(0.0, self._cluster.driver_free(seconds))

    def _pay(self) -> float:
        """Take a core for the processor time that was used; returns when it is done."""
        seconds, self._owed = self._owed, 0.0
        return self._cluster.core_free(seconds) if seconds else self._clock.now

    def _wait(self, seconds: float, until: float) -> None:
        """Wait for some time or to be woken, but not less than ``until``."""
        if seconds > 0:
            self._process.wait(seconds)
        if until > self._clock.now:
            self._process.wait(until - self._clock.now)

    def call(self, actor: Evaluator, method: str, *arguments: Any) -> Ref:
        ref = Ref(method, arguments)
        self._owed += self._cluster.costs.call
        self.called.add(actor.name)
        self._cluster.counts["calls"] += 1
        self._clock.after(self._owed + self._cluster.costs.latency, lambda: actor.receive(ref))
        return ref

    def wait(self, refs: Sequence[Ref], number: int, timeout_s: float) -> list[Ref]:
        missing = number - sum(ref.has_ended for ref in refs)
        if timeout_s > 0:
            until = self._pay()
            waiter = Waiter(self._process, missing)
            for ref in refs:
                ref.waiter = waiter
            self._wait(timeout_s if missing > 0 else 0.0, until)
            for ref in refs:
                ref.waiter = None
        return [ref for ref in refs if ref.has_ended][:number]

    def result(self, ref: Ref) -> Any:
        if ref.error is not None:
            raise ref.error
        return ref.value

    def put(self, value: Any) -> Any:
        return value

    def find(self, name: str) -> Evaluator:
        if name not in self._cluster.evaluators:
            raise LostError(f"{name} has ended", for_good=True)
        return self._cluster.evaluators[name]

    def kill(self, actor: Evaluator, *, restart: bool) -> None:
        (self._cluster.restart if restart else self._cluster.end)(actor)

    def read(self, key: str) -> str | None:
        self._cluster.counts["reads"] += 1
        evaluator = self._cluster.evaluators.get(key)
        return evaluator.beat() if evaluator is not None else self._cluster.store.get(key)

    def write(self, key: str, value: str, *, overwrite: bool = True) -> bool:
        if key in self._cluster.store and not overwrite:
            return False
        self._cluster.store[key] = value
        return True

    def nodes(self) -> list[Node]:
        return [machine.node for machine in self._cluster.machines.values()]

    def free(self) -> Mapping[str, Mapping[str, float]]:
        return {
            node: {"GPU": float(machine.free), "CPU": float(machine.free)}
            for node, machine in self._cluster.machines.items()
        }

    def node_of(self, actor: Evaluator) -> str:
        return "" if actor.machine is None else actor.machine.node.id

    def here(self) -> str:
        return "head"

    def create(self, name: str) -> Evaluator:
        return self._cluster.create(name)

    def request(self, bundles: Sequence[Mapping[str, float]]) -> None:
        self._cluster.asked = list(bundles)
