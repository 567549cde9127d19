"""Processes that others wait for: they die at any point, hang, or are lost for good."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import EvaluatorError
from raprune.evaluators import pulse
from raprune.evaluators.dispatch import MAX_ATTEMPTS, Call, Dispatcher
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.evaluators.ray_backend import RayBackend, why_lost
from raprune.launch.watching import ClusterLostError, ClusterWatch
from tests.launch.beating import Worker, shorten
from tests.waiting import PATIENCE_S

NAMES = ("first", "second")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def pool(ray_cluster: None, place: Path) -> Iterator[Dispatcher]:
    import ray

    namespace = "raprune-processes"
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0}
    actors = {name: ray.remote(Worker).options(**options).remote(namespace, name, str(place)) for name in NAMES}
    backend = RayBackend(namespace)
    found = Dispatcher(actors, backend, pulses=Pulses(backend))
    found.each(lambda actor, _: actor.ping.remote(), "starting", PATIENCE_S)
    yield found
    for actor in actors.values():
        ray.kill(actor)


def double(actor: Any, items: list[int]) -> Any:
    return actor.double.remote(items)


def test_a_call_to_each_survives_a_death(pool: Dispatcher, place: Path) -> None:
    """``load`` is such a call: between the baseline and the first trial."""
    (place / "first dies").touch()
    assert pool.each(double, "loading") == [0, 2]
    (place / "second dies").touch()
    assert pool.run([Call([n], [n]) for n in range(8)], double, "scoring") == [2 * n for n in range(8)]


def test_one_that_always_dies_is_told_in_a_sentence(pool: Dispatcher, place: Path) -> None:
    (place / "first always dies").touch()
    with pytest.raises(EvaluatorError) as raised:
        pool.each(double, "reading the data")
    (place / "first always dies").unlink()
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"reading the data: its evaluator died {MAX_ATTEMPTS} times; the last time (host ")
    assert "killed or crashed" in line
    assert "The same command resumes" in line


@pytest.mark.parametrize("fate", ["stops", pytest.param("sleeps", marks=pytest.mark.slow)])
def test_one_that_hangs_is_replaced(pool: Dispatcher, place: Path, monkeypatch: pytest.MonkeyPatch, fate: str) -> None:
    """Suspended, or asleep in somebody's code: its beats stay away, and its calls are made again."""
    monkeypatch.setattr(pulse, "SILENT_S", 6.0)  # of twelve beats
    if fate == "sleeps":  # in the process that hangs
        pool.each(lambda actor, _: actor.__ray_call__.remote(shorten), "preparing")
    (place / f"first {fate}").touch()
    began = time.monotonic()
    assert pool.each(double, "scoring") == [0, 2]
    assert time.monotonic() - began > 5
    assert not any(member.hung for member in pool.members)


def test_one_that_cannot_start_again_leaves_the_work_to_the_other(pool: Dispatcher, place: Path) -> None:
    for fate in ("cannot start", "dies"):
        (place / f"first {fate}").touch()
    assert pool.run([Call([n], [n]) for n in range(8)], double, "scoring") == [2 * n for n in range(8)]
    for fate in ("cannot start", "dies"):
        (place / f"second {fate}").touch()
    with pytest.raises(EvaluatorError, match=r"no evaluator can be restarted: .*no space left on device"):
        pool.run([Call([n], [n]) for n in range(8)], double, "scoring")


def test_a_long_call_does_not_hang(monkeypatch: pytest.MonkeyPatch, ray_cluster: None) -> None:
    """What works, works: however long, as long as it computes; queued calls say nothing either."""
    clock = Clock()
    monkeypatch.setattr(pulse, "time", clock)
    monkeypatch.setattr(pulse, "PAUSED_S", float("inf"))  # where this clock leaps, nothing stood still
    beat = Pulse(RayBackend("raprune-long"), "x")
    with beat.during("train"):
        for _ in range(3):
            work(2 * pulse.BUSY_S)
            clock.ahead_s += 2 * pulse.IDLE_S
            assert not beat.hangs()
        with ThreadPoolExecutor(1) as another:  # meanwhile this thread waits; starting to wait may count as work, once
            assert any(another.submit(lambda: [clock.later(beat.hangs) for _ in range(3)]).result())
    assert not clock.later(beat.hangs)
    beat.stop()


class Clock:
    """The clocks of a process; the one on the wall can be put forward."""

    clock_gettime, process_time = time.clock_gettime, time.process_time
    pthread_getcpuclockid = time.pthread_getcpuclockid
    ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def later(self, ask: Callable[[], bool]) -> bool:
        self.ahead_s += 2 * pulse.IDLE_S
        return ask()


def work(seconds: float) -> None:
    """Use the processor for so long, however much else the machine does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1_000))


def test_why_a_process_was_lost() -> None:
    import ray

    assert "ran out of memory" in why_lost(ray.exceptions.OutOfMemoryError("Task was killed"))
    assert "its machine was lost" in why_lost(ray.exceptions.RayError("died because its node has died"))
    assert "killed or crashed" in why_lost(ray.exceptions.WorkerCrashedError())


@contextlib.contextmanager
def started(watch: ClusterWatch) -> Iterator[None]:
    """Stopped whatever happens: a watch that goes on after a loss ends the process of the tests."""
    watch.start()
    try:
        yield
    finally:
        watch.stop()


def test_a_lost_cluster_ends_all_waiting(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    watch = ClusterWatch("127.0.0.1:1", {"Ray's node process (raylet)": process}, tmp_path)
    with started(watch):
        watch.check()
        process.kill()
        with pytest.raises(ClusterLostError, match=r"\(raylet\) on .* was killed .* resumes .* logs are in"):
            watch.check(wait_s=PATIENCE_S)


def test_a_head_that_cannot_be_reached_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from raprune.launch import watching

    monkeypatch.setattr(watching, "UNREACHABLE_S", 0.5)
    watch = ClusterWatch("127.0.0.1:9", {}, None)
    with started(watch), pytest.raises(ClusterLostError, match=r"its head at 127.0.0.1:9 cannot be reached"):
        watch.check(wait_s=PATIENCE_S)


def test_a_node_that_hangs_is_lost(tmp_path: Path) -> None:
    """The head says so. Nothing is killed before the study has said so: Ray would end this process."""
    raylet = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    watch = ClusterWatch("127.0.0.1:1", {"Ray's node process (raylet)": raylet}, tmp_path, lambda timeout_s: False)
    with started(watch), pytest.raises(ClusterLostError, match=r"\(raylet\) on .* gave no sign of life\. .* resumes"):
        watch.check(wait_s=PATIENCE_S)
    assert raylet.poll() is None
    raylet.kill()


def test_a_head_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure is none: it may be busy."""
    from raprune.launch import watching

    for name, seconds in (("SILENT_S", 1.0), ("ASK_S", 0.1), ("LOOK_S", 0.1)):
        monkeypatch.setattr(watching, name, seconds)
    answers: Iterator[bool] = iter([True])
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])

    def ask(timeout_s: float) -> bool:
        for answer in answers:
            return answer
        raise TimeoutError(f"no answer in {timeout_s:.0f} s")

    watch = ClusterWatch("127.0.0.1:1", {"another": process}, None, ask)
    began = time.monotonic()
    with started(watch), pytest.raises(ClusterLostError, match=r"\(GCS\) at .* does not answer \(no answer in 5 s\)"):
        watch.check(wait_s=PATIENCE_S)
    assert time.monotonic() - began > 1.0
    process.kill()


def test_a_living_cluster_is_not_lost(ray_cluster: None) -> None:
    """Its head is asked, and says that this process's node lives."""
    from raprune.launch.watching import _question

    assert _question()(PATIENCE_S)
