"""Signs of life where everything stood still for a while: a paused container, a suspended virtual machine."""

from __future__ import annotations

import time

import pytest

from raprune.evaluators import pulse
from raprune.evaluators.pulse import BEAT_S, SILENT_S, Pulse, Pulses
from tests.evaluators.plain import Plain

HOUR = 3600.0


def looked(cluster: Plain, pulses: Pulses, seconds: float) -> bool:
    """Look for so long; returns whether ``x`` hangs at the end."""
    hangs, end = False, cluster.time + seconds
    while cluster.time < end:
        if pulses.is_due():
            hangs = pulses.hangs("x")
        cluster.time += 1.0
    return hangs


def test_who_stood_still_itself_condemns_nobody() -> None:
    cluster = Plain()
    cluster.beats("x", "n0")
    pulses = Pulses(cluster)
    assert not looked(cluster, pulses, 3 * BEAT_S)
    cluster.time += HOUR
    assert not looked(cluster, pulses, BEAT_S)
    assert not pulses.never_began("x", HOUR)
    assert looked(cluster, pulses, SILENT_S)  # one that is silent now still hangs
    assert pulses.claim("x")


def test_a_call_is_not_longer_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would seem to compute for ever, or be the measure by which no later one does."""
    later = [0.0]
    clock = time.monotonic
    monkeypatch.setattr(pulse, "BEAT_S", 0.01)
    monkeypatch.setattr(pulse.time, "monotonic", lambda: clock() + later[0])
    cluster = Plain()
    beats = Pulse(cluster, "x")
    try:
        with beats.during("evaluate"):
            later[0] = HOUR
            assert not beats.hangs()
    finally:
        beats.stop()
    assert beats._longest["evaluate"] < HOUR / 2
