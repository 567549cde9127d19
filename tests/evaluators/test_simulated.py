"""The pool on a simulated cluster: recorded trials, machines that are lost, evaluators that hang, all in seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.simulator.bounds import all_knowing, one_queue, parallelism
from benchmarks.simulator.clock import Clock
from benchmarks.simulator.events import hangs, spot
from benchmarks.simulator.recorded import Trial, made_up, mean_s, read, record
from benchmarks.simulator.replaying import Answers, Setup, Simulation, measure
from raprune.evaluators.members import Members, Turn
from raprune.launch.tuning import REPORT_EVERY_S, Pace
from tests.evaluators.plain import Plain


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """Recorded trials whose candidates take a second on average, and whose commits take ten."""
    return read(masks=5, candidate_s=1.0, commit_s=10.0)


@contextlib.contextmanager
def simulated(setup: Setup) -> Iterator[Simulation]:
    simulation = Simulation(setup)
    try:
        yield simulation
    finally:
        simulation.clock.close()


def recorded_answers(trial: Trial) -> Answers:
    return [
        (layer.name, call, mask.key, layer.scored[mask.key].score)
        for layer in trial.layers
        for call, masks in enumerate(layer.calls)
        for mask in masks
    ]


def test_the_recorded_table_is_small_and_whole(trials: list[Trial]) -> None:
    assert mean_s(trials) == pytest.approx(1.0)
    assert [len(trial.layers) for trial in trials] == [13, 13]
    assert sum(layer.num_candidates for trial in trials for layer in trial.layers) == 1247
    assert all(len(masks) <= 5 for trial in trials for layer in trial.layers for masks in layer.calls)


def test_what_does_not_serve_as_a_recording_is_told(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "recorded.parquet"
    file.write_text("what was recorded before")
    for methods, said in ((("taylor",), "no completed trial of taylor"), (("magnitude",), "asked for features.37, f")):
        with pytest.raises(SystemExit, match=said):
            record(small_study[1], file, methods)
    assert file.read_text() == "what was recorded before"
    assert record(small_study[1], file) > 0
    (trial,) = read(None, file=file)
    assert [layer.name for layer in trial.layers] == ["features.40", "features.37"]


def test_no_row_depends_on_the_pool_or_on_what_happens_to_it(trials: list[Trial]) -> None:
    """Small machines are lost every few minutes, and evaluators hang: the answers are the recorded ones."""
    with simulated(Setup(8, trials, in_flight=4, per_machine=2)) as calm:
        calm.study(4)
        calm.finish(4, within_s=3600.0)
        took = calm.clock.now
    with simulated(Setup(8, trials, in_flight=4, per_machine=2)) as rough:
        spot(rough, seed=1, life_s=400.0, away_s=60.0)
        hangs(rough, seed=2, every_s=300.0)
        rough.study(4)
        rough.finish(4, within_s=10 * took)
    for number in range(4):
        expected = recorded_answers(trials[number % 2])
        assert calm.answers[number] == expected
        assert rough.answers[number] == expected
    assert rough.clock.now > took
    assert rough.cluster.counts["lost"] > 5
    assert any("was lost" in text for _, text in rough.said)
    assert rough.cluster.counts["calls"] - rough.cluster.counts["lost"] < 1.2 * calm.cluster.counts["calls"]


def test_a_machine_that_joins_scores_within_half_a_minute(trials: list[Trial]) -> None:
    with simulated(Setup(4, trials, in_flight=4, per_machine=4)) as simulation:
        simulation.stream()
        simulation.clock.run(120.0)
        node = simulation.cluster.join(4)
        simulation.clock.run(120.0 + simulation.setup.costs.start + 10.0)
        joined = [e for e in simulation.cluster.evaluators.values() if e.machine and e.machine.node.id == node]
        assert len(joined) == 4
        assert all(evaluator.now_on or evaluator.busy["scoring"] > 0 for evaluator in joined)


def test_a_pool_is_kept_busy_evenly(trials: list[Trial]) -> None:
    """Four calls for every evaluator keep them busy; a trial calls only a few of them, which know its state."""
    found = measure(Setup(64, trials, in_flight=51), warm_up_s=60.0, window_s=120.0)
    assert found.busy > 0.82
    assert sum(found.by_work.values()) == pytest.approx(found.busy)
    assert found.most_called <= 6


def test_what_keeps_a_pool_from_being_busier(trials: list[Trial]) -> None:
    """A trial of endless updates of five equal candidates, in halves of a pool, and whose calls know of others."""
    alike = made_up(masks=5, candidate_s=1.0)
    assert parallelism(alike[0]) == pytest.approx(5.0)
    assert one_queue(alike, 1, 10, 100.0) == pytest.approx(0.5)
    assert one_queue(alike, 2, 10, 100.0) == pytest.approx(1.0)
    assert 2.0 < parallelism(trials[0]) < 5.0
    waiting = (3, 1, 2, 0)
    actors = {f"e{n}": SimpleNamespace(queue=[0] * queued, now_on=None) for n, queued in enumerate(waiting)}
    members, usual = Members(actors, Plain(), Turn(), None), Members.free
    with all_knowing(near=3):
        chosen = members.free()
    assert chosen is not None
    assert chosen.name == "e1"
    assert Members.free is usual


def test_trials_report_less_often_to_a_driver_that_is_busy() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.is_due()
    for waited, pause in ((0.001, REPORT_EVERY_S), (2.0, 40.0)):
        with pace.reporting():
            now[0] += waited
        now[0] += pause - 0.01
        assert not pace.is_due()
        now[0] += 0.02
        assert pace.is_due()


def test_the_clock_goes_from_event_to_event() -> None:
    clock, seen = Clock(), []

    def sleeper() -> None:
        process = clock.current
        assert process is not None
        process.wait(5.0)
        seen.append(("woken", clock.now))
        process.wait(5.0)
        seen.append(("slept", clock.now))
        process.wait()
        seen.append(("never", clock.now))

    clock.spawn(sleeper)
    clock.run(1.0)
    clock._processes[0].wake()
    clock.run(100.0)
    clock.close()
    assert seen == [("woken", 1.0), ("slept", 6.0)]
    assert clock.now == 100.0


def test_an_error_of_a_process_ends_the_simulation() -> None:
    clock = Clock()
    clock.spawn(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clock.run(1.0)
    clock.close()
