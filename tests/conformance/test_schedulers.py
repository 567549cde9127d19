"""Every scheduler stops what nearly all others dominate, and never the best; a pure function of where trials stand."""

from __future__ import annotations

import pytest

from raprune.plugins.schedulers.base import Scheduler, Standing
from raprune.registry import SCHEDULERS, Plugin

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in SCHEDULERS])
OTHERS = [Standing(macs, drop) for macs, drop in ((900, 0.5), (800, 1.0), (700, 2.0), (600, 3.0), (650, 2.5))]
"""None of them dominates another."""
LAYERS = range(1, 28)


def build(plugin: Plugin) -> Scheduler:
    scheduler: Scheduler = SCHEDULERS.build(plugin.name, {})
    return scheduler


@every
def test_what_nothing_dominates_goes_on(plugin: Plugin) -> None:
    scheduler = build(plugin)
    for own in (Standing(100, 9.0), Standing(850, 0.1), OTHERS[0]):
        assert not any(scheduler.stops(number, own, OTHERS) for number in LAYERS)
        assert not any(scheduler.stops(number, own, []) for number in LAYERS)


@every
def test_what_all_dominate_is_stopped_somewhere(plugin: Plugin) -> None:
    scheduler, worst = build(plugin), Standing(1000, 9.0)
    stops = [number for number in LAYERS if scheduler.stops(number, worst, OTHERS)]
    assert stops
    assert stops[0] >= 2  # after one layer little is known
    assert stops == [number for number in LAYERS if scheduler.stops(number, worst, OTHERS[::-1])]


@every
def test_its_rounds_have_a_size(plugin: Plugin) -> None:
    assert plugin.settings.model_validate({"at_once": 3}).model_dump()["at_once"] == 3


def test_asha_has_rungs_and_keeps_one_in_eta() -> None:
    asha: Scheduler = SCHEDULERS.build("asha", {"first": 2, "eta": 3, "at_least": 3})
    line = [Standing(macs, 1.0) for macs in range(100, 900, 100)]  # 8 others in a total order
    assert [n for n in LAYERS if asha.stops(n, Standing(1000, 1.0), line)] == [2, 6, 18]
    stopped = [asha.stops(2, Standing(macs, 1.0), line) for macs in range(50, 950, 100)]
    assert stopped == [False] * 3 + [True] * 6  # of 9 the first third goes on
    assert not asha.stops(2, Standing(1000, 1.0), line[:2])
