"""A scheduler on the simulated cluster: it ends the same trials at the same layers whatever the pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.schedulers import FILE, MASKS, choice, ends, front, replay
from benchmarks.simulator.recorded import Trial, read
from benchmarks.simulator.replaying import Setup
from benchmarks.simulator.scheduled import Scheduled, course
from raprune.launch.in_flight import turn_of
from raprune.plugins.schedulers.base import Standing
from raprune.study import load_study
from raprune.trial.pacing import Pace
from tests.test_shape import ROOT


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return read(MASKS, candidate_s=1.0, file=FILE)


def by_hand(trials: list[Trial], name: str, at_once: int) -> list[int]:
    """Layers of each trial, round by round, without a cluster."""
    decided: list[int] = []
    for first in range(0, len(trials), at_once):
        pace = Pace(choice(name, at_once), tuple(course(trials[n], decided[n]) for n in range(first)))
        for trial in trials[first : first + at_once]:
            most = len(trial.layers)
            decided.append(next((n for n in range(1, most) if pace.stops(course(trial, n))), most))
    return decided


def test_a_scheduler_stops_what_it_stops_without_a_cluster(trials: list[Trial]) -> None:
    assert len(trials) == 12
    of_layers = [[layer.num_candidates for layer in trial.layers] for trial in trials]
    expected = {name: by_hand(trials, name, 4) for name in ("asha", "dominated")}
    assert 0 < sum(layers < 13 for layers in expected["asha"]) < sum(layers < 13 for layers in expected["dominated"])
    for name, evaluators in (("asha", 16), ("dominated", 8)):
        found = replay(trials, name, 4, evaluators)
        assert found.decided == expected[name]
        asked = (sum(own[:layers]) for own, layers in zip(of_layers, found.decided, strict=True))
        assert found.candidates == sum(asked)


def test_a_round_is_spread_over_the_pool_as_on_ray(trials: list[Trial]) -> None:
    """A round of fewer trials than the pool can run: each begins with evaluators of its own."""
    simulation = Scheduled(Setup(16, trials, in_flight=10, masks=MASKS), choice("asha", 4), at_once=4)
    try:
        simulation.finish(4, within_s=10**6)
    finally:
        simulation.clock.close()
    spec = load_study(ROOT / "benchmarks" / "schedulers.yaml").trials[0]
    on_ray = turn_of(spec, [spec.trial_id, "b", "c", "d"])
    for number in range(4):
        assert simulation.turns[number].first(16) == replace(on_ray, number=number).first(16) == 4 * number


def test_a_front_is_what_none_dominates() -> None:
    assert front([Standing(3, 0.0), Standing(2, 1.0), Standing(3, 1.0), Standing(2, 1.0)]) == [0, 1, 3]


def test_every_recorded_trial_ends_somewhere(trials: list[Trial]) -> None:
    assert all(end.macs > 0 for end in ends(trials))
