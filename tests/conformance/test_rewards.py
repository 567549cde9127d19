"""Every reward: finite, never better for a larger drop, nothing for pruning nothing, and the paper's by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from raprune.plugins.rewards.base import Reward
from raprune.registry import REWARDS, Plugin

SETTINGS: dict[str, list[dict[str, Any]]] = {"bounded_log": [{}, {"floor": "none"}, {"floor": -0.25}]}
"""Reward -> settings to test beside the defaults."""
BOUNDS = (0.1, 2.0, 30.0)
SIZES = ((1, 1), (64, 1), (64, 16), (64, 63), (512, 200))
DROPS = [-20.0, -1.0, -1e-9, 0.0, 0.05, 0.5, 1.5, 2.0, 3.0, 4.0, 10.0, 60.0, 100.0]

every = pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        pytest.param(plugin, settings, id=f"{plugin.name}-{settings}")
        for plugin in REWARDS
        for settings in SETTINGS.get(plugin.name, [{}])
    ],
)
points = pytest.mark.parametrize(("bound", "size"), list(itertools.product(BOUNDS, SIZES)))


def build(plugin: Plugin, settings: dict[str, Any]) -> Reward:
    reward: Reward = REWARDS.build(plugin.name, settings)
    return reward


@every
@points
def test_finite_and_never_better_for_a_larger_drop(
    plugin: Plugin, settings: dict[str, Any], bound: float, size: tuple[int, int]
) -> None:
    reward = build(plugin, settings)
    rewards = [reward.reward(drop, bound, *size) for drop in DROPS]
    assert all(math.isfinite(value) for value in rewards)
    assert rewards == sorted(rewards, reverse=True)


@every
def test_keep_all_is_worth_nothing_whatever_the_score(plugin: Plugin, settings: dict[str, Any]) -> None:
    reward = build(plugin, settings)
    assert {abs(reward.reward(drop, bound, 64, 64)) for drop in DROPS for bound in BOUNDS} == {0.0}


@every
def test_a_mask_that_keeps_nothing_has_no_reward(plugin: Plugin, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the reward's own
        build(plugin, settings).reward(0.0, 2.0, 64, 0)


@every
def test_within_the_bound_fewer_filters_are_better(plugin: Plugin, settings: dict[str, Any]) -> None:
    reward = build(plugin, settings)
    rewards = [reward.reward(0.5, 2.0, 64, kept) for kept in range(1, 65)]
    assert rewards == sorted(rewards, reverse=True)
    assert rewards[0] > 0


@every
@points
def test_scoring_may_stop_at_the_largest_drop(
    plugin: Plugin, settings: dict[str, Any], bound: float, size: tuple[int, int]
) -> None:
    reward = build(plugin, settings)
    largest = reward.largest_drop(bound)
    if largest is None:
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the reward's own
            reward.reward(None, bound, *size)
        return
    assert largest > bound
    unknown = reward.reward(None, bound, *size)
    beyond = [reward.reward(largest * factor, bound, *size) for factor in (1 + 1e-9, 2.0, 50.0)]
    assert beyond == [unknown] * 3
    assert size[0] == size[1] or reward.reward(largest - 0.01 * bound, bound, *size) > unknown


LOG4 = math.log(4)


@pytest.mark.parametrize(
    ("floor", "drop", "bound", "expected"),
    [
        (-1.0, 1.5, 2.0, 0.25 * LOG4),
        (-1.0, 0.0, 2.0, LOG4),
        (-1.0, -1.0, 2.0, 1.5 * LOG4),
        (-1.0, 2.0, 2.0, 0.0),
        (-1.0, 3.0, 2.0, -0.5 * LOG4),
        (-1.0, 4.0, 2.0, -LOG4),
        (-1.0, 50.0, 2.0, -LOG4),
        (-1.0, 0.375, 0.5, 0.25 * LOG4),
        (-0.25, 3.0, 2.0, -0.25 * LOG4),
        ("none", 3.0, 2.0, -0.5 * LOG4),
        ("none", 50.0, 2.0, -24 * LOG4),
    ],
)
def test_bounded_log_by_hand(floor: float | str, drop: float, bound: float, expected: float) -> None:
    """psi = (b - drop) / b, phi = log(64 / 16) = log 4."""
    reward: Reward = REWARDS.build("bounded_log", {"floor": floor})
    assert reward.reward(drop, bound, 64, 16) == pytest.approx(expected)


@pytest.mark.parametrize(("floor", "expected"), [(-1.0, 4.0), (-0.25, 2.5), (-3.0, 8.0), ("none", None)])
def test_bounded_log_reaches_its_floor(floor: float | str, expected: float | None) -> None:
    reward: Reward = REWARDS.build("bounded_log", {"floor": floor})
    assert reward.largest_drop(2.0) == expected
