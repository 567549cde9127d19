"""Trials that replay recorded ones through :class:`raprune.evaluators.ray_pool.RayPool`, and how busy they keep it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from benchmarks.simulator.backend import SimulatedBackend
from benchmarks.simulator.clock import Clock
from benchmarks.simulator.cluster import Cluster, Costs
from benchmarks.simulator.recorded import Layer, Trial
from raprune.evaluators.members import Turn
from raprune.evaluators.ray_pool import RayPool
from raprune.launch.keeper import Keeper
from raprune.launch.resources import resources_for
from raprune.launch.tuning import Pace
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec, FinetuneSpec

LOOP_S = 0.2
SETTINGS = EvaluatorsSpec(device="cpu")
WORKLOAD: Any = SimpleNamespace(finetune=FinetuneSpec(), fidelity=FidelitySpec())
"""As much of a workload as the pool looks at."""


@dataclass(frozen=True)
class Setup:
    """A pool and the trials that it scores for."""

    evaluators: int
    trials: Sequence[Trial]
    in_flight: int
    masks: int = 5
    """Per update of the trials."""
    per_machine: int = 8
    cores: int = 32
    """Of the machine on which the trials and the driver run."""
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True)
class _State:
    """As much of a network's state as the pool looks at."""

    version: str


@dataclass(frozen=True)
class _Commit:
    """The fine-tunes and measurements that commit a layer."""

    seconds: float
    name: str = "finetune"


Answers = list[tuple[str, int, bytes, float | None]]
"""(layer, number of the call, mask, score) of every candidate of a trial, in order."""


class Simulation:
    """A pool of simulated evaluators, and what happens to it."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.clock = setup, Clock()
        self.cluster = Cluster(self.clock, setup.costs, setup.cores)
        self.answers: dict[int, Answers] = {}
        """Number of a trial -> what it was told."""
        self.turns: dict[int, Turn] = {}
        """Number of a trial -> where it began in the pool."""
        self.called: dict[int, int] = {}
        """Number of a trial -> evaluators that it called."""
        self.said: list[tuple[float, str]] = []
        """When, and what the pool's keeper said of it."""
        self.trials_ended = 0
        self._ready = False
        for place in range(0, setup.evaluators, setup.per_machine):
            self.cluster.join(min(setup.per_machine, setup.evaluators - place))
        self.clock.spawn(self._drive)

    def _drive(self) -> None:
        """What the driver does beside Tune: it keeps the pool."""
        backend = SimulatedBackend(self.cluster)
        resources = resources_for(backend.nodes(), EvaluatorsSpec(device="cuda"), "auto", threads=1)
        keeper = Keeper(backend, resources, lambda text: self.said.append((self.clock.now, text)))
        keeper.begin(lambda: None)
        keeper.greet(WORKLOAD)
        self._ready = True
        while True:
            keeper.look()
            backend.sleep(LOOP_S)

    def stream(self) -> None:
        """As many trials as are in flight, each followed by another one, for ever; they begin where others are."""
        numbers = itertools.count(self.setup.in_flight)

        def one_after_the_other(number: int) -> None:
            place = number
            self.trial(number, place, begin=number / self.setup.in_flight)
            while True:
                self.trial(next(numbers), place)

        for number in range(self.setup.in_flight):
            self.clock.spawn(lambda number=number: one_after_the_other(number))

    def study(self, number: int) -> None:
        """So many trials, at most as many at once as are in flight."""
        self.run(range(number))

    def run(self, numbers: Sequence[int]) -> None:
        """These trials, as one run of Tune has them: at most as many at once as are in flight."""
        waiting = iter(numbers)

        def some(place: int) -> None:
            for number in waiting:
                self.trial(number, place, of=len(numbers))

        for place in range(min(len(numbers), self.setup.in_flight)):
            self.clock.spawn(lambda place=place: some(place))

    def finish(self, number: int, within_s: float) -> None:
        """Let time pass until so many trials have ended. Raises TimeoutError if it takes too long."""
        while self.trials_ended < number:
            if self.clock.now > within_s:
                raise TimeoutError(f"{self.trials_ended} of {number} trials ended within {within_s:.0f} s")
            self.clock.run(self.clock.now + 10.0)

    def trial(self, number: int, place: int, begin: float = 0.0, of: int | None = None) -> None:
        """One trial, in the process that ran the trial ``place`` first, from this share of its layers on.

        ``of``: the trials of its run, as ``turn_of`` in raprune/launch/in_flight.py has them; ``None``: endless.
        """
        backend = SimulatedBackend(self.cluster)
        while not self._ready:
            backend.sleep(LOOP_S)
        recorded = self.setup.trials[number % len(self.setup.trials)]
        backend.tell_driver(self.setup.costs.begin)
        spacing = self.setup.evaluators / self.setup.in_flight
        backend.turn = self.turns[number] = Turn(place, of or self.setup.in_flight, spacing)
        pool = RayPool(SETTINGS, WORKLOAD, backend)  # type: ignore[arg-type]
        answers, pace = self.answers.setdefault(number, []), Pace(backend.now)
        for step, layer in enumerate(recorded.layers[int(begin * len(recorded.layers)) :]):
            state = _State(f"{number}/{step}")
            self.cluster.book[state.version] = layer
            for call, found in enumerate(self._scored(backend, pool, state, layer)):
                answers += [(layer.name, call, key, score) for key, score in found]
                if pace.is_due():
                    with pace.reporting():
                        backend.tell_driver(self.setup.costs.report)
            pool.run(_Commit(layer.commit_s), state)  # type: ignore[arg-type]
            with pace.reporting():
                backend.tell_driver(self.setup.costs.report)
            del self.cluster.book[state.version]
            if self.is_stopped(number, recorded, step + 1):
                break
        self.called[number] = len(backend.called)
        self.trials_ended += 1

    def is_stopped(self, number: int, recorded: Trial, layers: int) -> bool:
        """Whether a trial ends after so many layers; here none does."""
        del number, recorded, layers
        return False

    def _scored(
        self, backend: SimulatedBackend, pool: RayPool, state: Any, layer: Layer
    ) -> Iterator[list[tuple[bytes, float | None]]]:
        for masks in layer.calls:
            backend.work(self.setup.costs.update)
            results = pool.evaluate(state, layer.name, masks, None)
            self.cluster.counts["candidates"] += len(masks)
            yield [(mask.key, result.scored.score) for mask, result in zip(masks, results, strict=True)]


@dataclass(frozen=True)
class Measured:
    """Shares of a window of time, 0 to 1."""

    busy: float
    """Of the evaluators' time."""
    by_work: dict[str, float]
    """Of the evaluators' time, by what it was spent on."""
    candidates_per_s: float
    cores: float
    """Of the trials' machine."""
    driver: float
    reads_per_s: float
    most_called: int
    """Evaluators that one trial called, at most."""


def measure(setup: Setup, warm_up_s: float, window_s: float, events: Callable[[Simulation], None] = id) -> Measured:
    """A stream of trials on a full pool; ``events`` may add what happens to it."""
    simulation = Simulation(setup)
    simulation.stream()
    events(simulation)
    try:
        simulation.clock.run(setup.costs.start + warm_up_s)
        cluster = simulation.cluster
        counts, busy = Counter(cluster.counts), cluster.busy()
        simulation.clock.run(setup.costs.start + warm_up_s + window_s)
        spent = {kind: seconds - busy[kind] for kind, seconds in cluster.busy().items()}
        counts = Counter({name: number - counts[name] for name, number in cluster.counts.items()})
    finally:
        simulation.clock.close()
    every = setup.evaluators * window_s
    return Measured(
        sum(spent.values()) / every,
        {kind: seconds / every for kind, seconds in spent.items()},
        counts["candidates"] / window_s,
        counts["trials"] / window_s / setup.cores,
        counts["driver"] / window_s,
        counts["reads"] / window_s,
        max(simulation.called.values(), default=0),
    )
