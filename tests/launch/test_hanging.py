"""Trials whose processes hang are found, also where they never gave a sign of life."""

from __future__ import annotations

from raprune.evaluators.pulse import SILENT_S, START_S, Pulses
from raprune.launch.hanging import Hanging
from tests.evaluators.plain import Plain


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
