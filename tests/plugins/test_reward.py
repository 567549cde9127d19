"""The reward, recomputed by hand from its equations."""

from __future__ import annotations

import math

import pytest

from raprune.registry import REWARDS

BY_HAND = [
    # drop, bound, N, kept, floor, reward
    (0.0, 2.0, 64, 48, "none", math.log(64 / 48)),
    (0.5, 2.0, 64, 48, "none", 0.75 * math.log(4 / 3)),
    (-1.0, 2.0, 64, 48, "none", 1.5 * math.log(4 / 3)),  # a gain is not clipped
    (2.0, 2.0, 64, 16, "none", 0.0),
    (3.0, 2.0, 64, 16, "none", -0.5 * math.log(4)),
    (50.0, 2.0, 64, 16, "none", -24.0 * math.log(4)),
    (50.0, 2.0, 64, 16, -1.0, -math.log(4)),
    (5.0, 2.0, 64, 64, "none", 0.0),  # keep-all is worth nothing, whatever the score
    (None, 2.0, 64, 16, -1.0, -math.log(4)),
]


@pytest.mark.parametrize(("drop", "bound", "num_filters", "num_kept", "floor", "expected"), BY_HAND)
def test_by_hand(
    drop: float | None, bound: float, num_filters: int, num_kept: int, floor: float | str, expected: float
) -> None:
    reward = REWARDS.build("bounded_log", {"floor": floor})
    assert reward.reward(drop, bound, num_filters, num_kept) == pytest.approx(expected, abs=1e-12)


def test_the_largest_drop_that_counts() -> None:
    assert REWARDS.build("bounded_log", {"floor": "none"}).largest_drop(2.0) is None
    clipped = REWARDS.build("bounded_log", {"floor": -1.0})
    assert clipped.largest_drop(2.0) == 4.0
    assert clipped.reward(4.0, 2.0, 8, 6) == pytest.approx(clipped.reward(7.0, 2.0, 8, 6))
    assert clipped.reward(3.9, 2.0, 8, 6) > clipped.reward(4.0, 2.0, 8, 6)


def test_drop_all_has_no_reward() -> None:
    with pytest.raises(ValueError, match="keeps nothing"):
        REWARDS.build("bounded_log", {}).reward(0.0, 2.0, 8, 0)
    with pytest.raises(ValueError, match="needs its score"):
        REWARDS.build("bounded_log", {"floor": "none"}).reward(None, 2.0, 8, 4)
