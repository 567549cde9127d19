"""A scheduler on a simulated cluster: recorded trials run in its rounds, and it ends those that others dominate."""

from __future__ import annotations

from benchmarks.simulator.backend import SimulatedBackend
from benchmarks.simulator.recorded import Trial
from benchmarks.simulator.replaying import LOOP_S, Setup, Simulation
from raprune.plugins.schedulers.base import Standing
from raprune.study import Choice
from raprune.trial.pacing import Course, Pace


def course(trial: Trial, layers: int) -> Course:
    """Where a recorded trial stood after each of its first ``layers``."""
    decided = trial.layers[:layers]
    standings = [layer.standing or Standing(0, 0.0) for layer in decided]
    return Course(trial.baseline_key, tuple(layer.name for layer in decided), tuple(standings))


class Scheduled(Simulation):
    """A study of all recorded trials; with a scheduler in rounds, as :mod:`raprune.launch.rounds` has them."""

    def __init__(self, setup: Setup, scheduler: Choice | None, at_once: int) -> None:
        super().__init__(setup)
        self.decided: dict[int, int] = {}
        """Number of a trial -> layers that it decided."""
        self._scheduler, self._pace = scheduler, None if scheduler is None else Pace(scheduler, ())
        self.clock.spawn(lambda: self._rounds(at_once if scheduler is not None else len(setup.trials)))

    def _rounds(self, at_once: int) -> None:
        backend, number = SimulatedBackend(self.cluster), len(self.setup.trials)
        for first in range(0, number, at_once):
            if self._scheduler is not None:
                done = tuple(course(self.setup.trials[n], self.decided[n]) for n in range(first))
                self._pace = Pace(self._scheduler, done)
            self.run(range(first, min(first + at_once, number)))
            while self.trials_ended < min(first + at_once, number):
                backend.sleep(LOOP_S)
        self.ended_at = self.clock.now

    def is_stopped(self, number: int, recorded: Trial, layers: int) -> bool:
        self.decided[number] = layers
        return self._pace is not None and layers < len(recorded.layers) and self._pace.stops(course(recorded, layers))
