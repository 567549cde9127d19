"""What drivers ask of the autoscaler: the sum of those that live, on a real Ray; here nobody answers the request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raprune.evaluators.demand import NAME
from tests.launch.asking import LOOK_S
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
Drivers = dict[str, "subprocess.Popen[str]"]


@pytest.fixture
def drivers(ray_cluster: None) -> Iterator[Drivers]:
    """Two drivers, in processes of their own; they ask for one core and for two."""
    import ray

    address, path = ray.get_runtime_context().gcs_address, os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    there: Drivers = {}
    for number, name in enumerate(("one", "two"), start=1):
        command = [sys.executable, str(ROOT / "tests/launch/asking.py"), address, name, str(number)]
        there[name] = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
        )
    yield there
    for process in there.values():
        process.kill()
        process.wait()
    until(lambda: not withdrawers())


def requested() -> int:
    """Cores that the autoscaler is asked for."""
    from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
    from ray.experimental.internal_kv import _internal_kv_get

    return len(json.loads(_internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) or "[]"))


def withdrawers() -> set[str]:
    import ray

    every = ray.util.list_named_actors(all_namespaces=True)
    return {actor["namespace"] for actor in every if actor["name"] == NAME}


@pytest.mark.slow  # as all that needs an autoscaler: test_autoscaler.py; the sums are in test_keeper.py
def test_a_driver_that_is_killed_is_withdrawn_and_no_other(drivers: Drivers) -> None:
    for process in drivers.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
    assert requested() == 3
    until(lambda: withdrawers() == {"one", "two"})
    drivers["two"].send_signal(signal.SIGSTOP)  # it is slow, no more
    drivers["one"].kill()
    until(lambda: requested() == 2)
    until(lambda: withdrawers() == {"two"})
    time.sleep(4 * LOOK_S)
    assert requested() == 2
    drivers["two"].kill()
    until(lambda: requested() == 0)
    until(lambda: not withdrawers())
