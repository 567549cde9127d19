"""Trials that find no core do not wait without a word."""

from __future__ import annotations

import pytest

from raprune.evaluators.backend import Node
from raprune.launch.placing import off
from raprune.launch.resources import MARKET
from raprune.launch.standstill import STILL_S, Standstill
from tests.evaluators.plain import Plain

SPOT = {MARKET: "!spot"}


def told_of(cluster: Plain, labels: dict[str, str], statuses: list[str], seconds: float = 10 * STILL_S) -> list[str]:
    told: list[str] = []
    still, end = Standstill(cluster, labels, told.append), cluster.time + seconds
    while cluster.time < end:
        still.see(statuses)
        cluster.time += 1.0
    return told


@pytest.fixture
def full() -> Plain:
    """Another program has all cores."""
    cluster = Plain()
    cluster.others = {"n0": {"CPU": 2.0}, "n1": {"CPU": 1.96}}
    return cluster


def test_is_told_once_and_again_after_some_ran(full: Plain) -> None:
    (text,) = told_of(full, {}, ["PENDING", "TERMINATED"])
    assert text.startswith("no trial has run for 1 min: each takes 0.05 of a core, and no machine has that free")
    told: list[str] = []
    still = Standstill(full, {}, told.append)
    for status in ["PENDING"] * 100 + ["RUNNING"] + ["PENDING"] * 100:
        still.see([status])
        full.time += 1.0
    assert len(told) == 2


@pytest.mark.parametrize("statuses", [["RUNNING", "PENDING"], ["TERMINATED"], []])
def test_nobody_waits(full: Plain, statuses: list[str]) -> None:
    assert told_of(full, {}, statuses) == []


def test_a_trial_that_has_room_is_about_to_begin(full: Plain) -> None:
    assert told_of(Plain(), {}, ["PENDING"]) == []
    assert told_of(full, {}, ["PENDING"], STILL_S) == []


def test_room_where_trials_may_not_run_is_none() -> None:
    """The last machine that stays is gone; those that were refused do not count either."""
    cluster = Plain()
    cluster.there = [Node("n0", "a", {"CPU": 2.0}, {MARKET: "spot"})]
    (text,) = told_of(cluster, SPOT, ["PENDING"])
    assert "no spot one" in text
    assert "give the same command again" in text
    assert len(told_of(cluster, off({"n0"}), ["PENDING"])) == 1
    assert told_of(cluster, {}, ["PENDING"]) == []
