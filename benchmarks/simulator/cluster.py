"""A simulated cluster: nodes that come and go, evaluators that answer from recorded tables, and what a call costs."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.simulator.clock import Clock, Process
from benchmarks.simulator.recorded import Layer
from raprune.evaluators.backend import LostError, Node
from raprune.evaluators.base import EvaluatedMask
from raprune.evaluators.pulse import BEAT_S
from raprune.evaluators.ray_pool import MAX_STATES


@dataclass(frozen=True)
class Costs:
    """What Ray takes; seconds. The defaults were measured on Ray 2.60 (docs/scale.md says how)."""

    call: float = 0.0005
    """Processor time of a trial for one call: Ray's and the dispatcher's."""
    latency: float = 0.0002
    """Of a call on its way there, and of its answer on the way back."""
    report: float = 0.003
    """Of the driver, for a trial's report to Tune. The trial waits for it."""
    begin: float = 0.083
    """Of the driver, for the start of a trial."""
    lost: float = 2.0
    """Until a caller learns that an evaluator is away."""
    start: float = 20.0
    """Of an evaluator: process, network and data."""
    update: float = 0.006
    """Processor time of a trial for an agent's update."""


@dataclass(eq=False)
class Ref:
    """A call that was made."""

    method: str
    arguments: Sequence[Any]
    value: Any = None
    error: Exception | None = None
    has_ended: bool = False
    waiter: Waiter | None = None

    def end(self, value: Any = None, error: Exception | None = None) -> None:
        if not self.has_ended:
            self.value, self.error, self.has_ended = value, error, True
            if self.waiter is not None:
                self.waiter.one_ended()


@dataclass
class Waiter:
    """A process that waits for some of its calls."""

    process: Process
    missing: int

    def one_ended(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.process.wake()


@dataclass(eq=False)
class Machine:
    """A node with room for some evaluators."""

    node: Node
    free: int
    evaluators: set[Evaluator] = field(default_factory=set)


class Evaluator:
    """A simulated process: one call after the other, each as long as it was recorded."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.queue: deque[Ref] = deque()
        self.now_on: Ref | None = None
        self.machine: Machine | None = None
        self.is_ready = self.hangs = self.gone = False
        self.lives = 0
        """Processes it has had; what was due in an earlier one never happens."""
        self.busy: Counter[str] = Counter()
        """Seconds spent: ``scoring``, ``commits`` and ``first looks`` at a state."""
        self._states: dict[str, None] = {}
        self._silent_since: float | None = None

    def receive(self, ref: Ref) -> None:
        if self.machine is None and self.lives:  # lost, and not back yet
            self.cluster.clock.after(self.cluster.costs.lost, lambda: ref.end(error=self._why()))
            return
        self.queue.append(ref)
        self._go_on()

    def begin(self, machine: Machine) -> None:
        """Start on a machine."""
        self.machine, self.lives, self._silent_since = machine, self.lives + 1, None
        machine.free -= 1
        machine.evaluators.add(self)
        self.after(self.cluster.costs.start, self._ready)

    def _ready(self) -> None:
        self.is_ready = True
        self._go_on()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call ``do``, unless the process was lost by then."""
        life = self.lives
        self.cluster.clock.after(seconds, lambda: do() if life == self.lives and self.machine is not None else None)

    def _go_on(self) -> None:
        if self.now_on is not None or not self.queue or not self.is_ready or self.hangs:
            return
        self.now_on = ref = self.queue.popleft()
        value, spent = self._answer(ref)
        seconds = sum(spent.values())

        def done() -> None:
            if self.hangs:
                return
            self.now_on = None
            self.busy.update(spent)
            self.cluster.clock.after(self.cluster.costs.latency, lambda: ref.end(value))
            self._go_on()

        self.after(seconds, done)

    def _answer(self, ref: Ref) -> tuple[Any, dict[str, float]]:
        """What a call returns, and the seconds it takes."""
        if ref.method == "run":
            return [None], {"commits": ref.arguments[-1].seconds}
        if ref.method == "join":
            assert self.machine is not None
            return [(self.machine.node.id, self.machine.node.name, "")], {}
        if ref.method != "evaluate":
            return [None], {}
        _, version, _, _, _, items = ref.arguments
        layer = self.cluster.book[version]
        found = [layer.scored[mask.key] for mask, _ in items]
        spent = {"scoring": sum(scored.seconds for scored in found)}
        if version not in self._states:
            while len(self._states) >= MAX_STATES:
                del self._states[next(iter(self._states))]
            self._states[version] = None
            spent["first looks"] = layer.first_s
        return [EvaluatedMask(scored, self.name) for scored in found], spent

    def hang(self) -> None:
        """From now on, never answer and never beat."""
        self.hangs, self._silent_since = True, self.cluster.clock.now

    def beat(self) -> str | None:
        """What it last wrote into the store; nothing before it first ran."""
        if not self.lives:
            return None
        now = self.cluster.clock.now if self._silent_since is None else self._silent_since
        place = self.machine.node if self.machine is not None else Node("", "", {})
        return json.dumps({"host": place.name, "process": self.lives, "node": place.id, "number": int(now / BEAT_S)})

    def lose(self) -> None:
        """End the process; its calls are lost, and it waits for room to start again."""
        for ref in [*[self.now_on] * (self.now_on is not None), *self.queue]:
            self.cluster.counts["lost"] += 1
            self.cluster.clock.after(self.cluster.costs.lost, lambda ref=ref: ref.end(error=self._why()))
        if self.machine is not None:
            self.machine.free += 1
            self.machine.evaluators.discard(self)
        self._silent_since = self.cluster.clock.now
        self.machine, self.now_on, self.is_ready, self.hangs = None, None, False, False
        self.queue.clear()
        self._states.clear()

    def _why(self) -> LostError:
        return LostError("its machine was lost", for_good=self.gone)


class Cluster:
    """Machines, evaluators and the cluster's store."""

    def __init__(self, clock: Clock, costs: Costs, cores: int) -> None:
        """``cores``: of the machine on which all trials and the driver run."""
        self.clock, self.costs = clock, costs
        self.machines: dict[str, Machine] = {}
        self.evaluators: dict[str, Evaluator] = {}
        self.book: dict[str, Layer] = {}
        """State's version -> what is known of its candidates."""
        self.store: dict[str, str] = {}
        self.asked: list[Mapping[str, float]] = []
        self.counts: Counter[str] = Counter()
        """Calls, those that were lost, reads of the store, and seconds of processors: ``trials``, ``driver``."""
        self._waiting: deque[Evaluator] = deque()
        self._spent: Counter[str] = Counter()
        """By evaluators that have ended."""
        self._cores = [0.0] * cores
        self._driver_free = 0.0
        self._numbers = itertools.count()

    def join(self, slots: int) -> str:
        """A machine with room for ``slots`` evaluators joins; returns its id."""
        number = next(self._numbers)
        node = Node(f"node-{number}", f"host-{number}", {"GPU": float(slots), "CPU": float(slots)})
        self.machines[node.id] = Machine(node, slots)
        self.place()
        return node.id

    def leave(self, node: str) -> None:
        """A machine is lost, with all that runs on it."""
        machine = self.machines.pop(node)
        for evaluator in list(machine.evaluators):
            self.restart(evaluator)

    def restart(self, evaluator: Evaluator) -> None:
        evaluator.lose()
        self._waiting.append(evaluator)
        self.place()

    def place(self) -> None:
        """Give the evaluators that wait the room that there is."""
        rooms = (machine for machine in self.machines.values() for _ in range(machine.free))
        for machine in list(itertools.islice(rooms, len(self._waiting))):
            self._waiting.popleft().begin(machine)

    def create(self, name: str) -> Evaluator:
        self.evaluators[name] = Evaluator(self, name)
        self._waiting.append(self.evaluators[name])
        self.place()
        return self.evaluators[name]

    def end(self, evaluator: Evaluator) -> None:
        """End an evaluator for good."""
        evaluator.gone = True
        evaluator.lose()
        self._spent.update(evaluator.busy)
        self.evaluators.pop(evaluator.name, None)
        if evaluator in self._waiting:
            self._waiting.remove(evaluator)
        self.place()

    def busy(self) -> Counter[str]:
        """Seconds that evaluators have spent, by what for."""
        return sum((evaluator.busy for evaluator in self.evaluators.values()), self._spent)

    def core_free(self, seconds: float) -> float:
        """Take one of the trials' cores for some time; returns when it is done."""
        done = max(self.clock.now, heapq.heappop(self._cores)) + seconds
        heapq.heappush(self._cores, done)
        self.counts["trials"] += seconds
        return done

    def driver_free(self, seconds: float) -> float:
        """Take the driver's loop for some time; returns when it is done."""
        self._driver_free = max(self.clock.now, self._driver_free) + seconds
        self.counts["driver"] += seconds
        return self._driver_free
