"""Trials whose processes hang are found, also where they never gave a sign of life."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from raprune.evaluators.pulse import SILENT_S, START_S, Pulses
from raprune.evaluators.ray_backend import RayBackend
from raprune.launch.hanging import TRIAL, Hanging, Starting
from tests.evaluators.plain import Plain
from tests.waiting import until


def found(cluster: Plain, hanging: Hanging, process: str, seconds: float) -> float | None:
    """Seconds after which the process of the trial ``x`` is to be killed; ``None`` where it is not in ``seconds``."""
    began = cluster.time
    while cluster.time < began + seconds:
        if list(hanging.among({"x": process})):
            return cluster.time - began
        cluster.time += 1.0
    return None


def test_one_that_never_begins() -> None:
    """Suspended while it imports, say: it has never beaten, so nothing of it stops."""
    cluster = Plain()
    hanging = Hanging(Pulses(cluster))
    assert found(cluster, hanging, "a", START_S - 60) is None
    assert found(cluster, hanging, "a", 120) is not None
    assert found(cluster, hanging, "b", START_S - 60) is None  # in its place; its time is its own


def test_one_that_stops() -> None:
    cluster = Plain()
    cluster.beats("x", "n0")
    hanging = Hanging(Pulses(cluster))
    after = found(cluster, hanging, "a", START_S)
    assert after is not None
    assert SILENT_S < after < SILENT_S + 30


def test_one_that_never_begins_in_the_place_of_one_that_stopped() -> None:
    cluster = Plain()
    cluster.beats("x", "n0")
    hanging = Hanging(Pulses(cluster))
    assert found(cluster, hanging, "a", START_S) is not None
    after = found(cluster, hanging, "b", 2 * START_S)
    assert after is not None
    assert START_S < after < START_S + 30


def test_a_trial_that_ended_and_came_back_has_all_its_time() -> None:
    cluster = Plain()
    hanging = Hanging(Pulses(cluster))
    assert found(cluster, hanging, "a", START_S - 60) is None
    cluster.time += 60.0
    assert list(hanging.among({})) == []
    assert found(cluster, hanging, "a", START_S - 60) is None


class Table(Plain):
    """Has a table of the actors that are starting."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.ended: list[str] = []

    def starting(self, class_name: str) -> list[str]:
        assert class_name == TRIAL
        return self.rows

    def kill_starting(self, actor_id: str) -> None:
        self.ended.append(actor_id)

    def look(self, starting: Starting, seconds: float) -> list[str]:
        end = self.time + seconds
        while self.time < end:
            starting.see()
            self.time += 1.0
        return self.ended


def test_a_process_that_is_never_there_is_killed() -> None:
    """Tune has no trial that runs there yet, and would wait without end."""
    cluster = Table()
    starting, cluster.rows = Starting(cluster), ["a", "b"]
    assert cluster.look(starting, START_S - 60) == []
    cluster.rows = ["b", "c"]
    assert cluster.look(starting, 180) == ["b"]


def test_a_pause_of_the_driver_kills_none() -> None:
    cluster = Table()
    starting, cluster.rows = Starting(cluster), ["a"]
    assert cluster.look(starting, 60) == []
    cluster.time += 3600.0
    assert cluster.look(starting, START_S - 60) == []


def test_ray_tells_of_a_process_that_stands_still_while_it_starts(ray_cluster: None, tmp_path: Path) -> None:
    import ray

    def stop(self: Any) -> None:
        (tmp_path / "process").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)

    there, ours = (
        ray.remote(type(name, (), {"__init__": begin})) for name, begin in [("There", _nothing), (TRIAL, stop)]
    )
    backend = RayBackend("hanging")
    actors = [there.options(num_cpus=0).remote(), ours.options(num_cpus=0).remote(), ours.options(num_cpus=99).remote()]
    process = tmp_path / "process"
    until(lambda: process.exists() and psutil.Process(int(process.read_text())).status() == psutil.STATUS_STOPPED)
    (found,) = backend.starting(TRIAL)  # not the one that waits for room
    backend.kill_starting(found)
    until(lambda: not psutil.pid_exists(int(process.read_text())))
    assert backend.starting(TRIAL) == []
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actors[1].__ray_ready__.remote())
    for actor in actors:
        ray.kill(actor)


def _nothing(self: Any) -> None:
    pass
