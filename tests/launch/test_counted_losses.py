"""When the losses of a trial's process end the trial."""

from __future__ import annotations

import pytest

from raprune.launch.losses import MAX_LOSSES, Losses


@pytest.mark.parametrize("news", [{"new_scored": 1, "new_candidates": 5}, {"pruning_ratio": 0.5}])
def test_a_trial_that_gets_further_may_be_lost_again(news: dict[str, float]) -> None:
    """``make chaos`` killed a trial three times in eleven seconds; it had scored a hundred candidates meanwhile."""
    losses = Losses()
    for _ in range(3 * MAX_LOSSES):
        assert not losses.count("x")
        losses.told("x", news)


@pytest.mark.parametrize("news", [{}, {"new_scored": 0, "new_candidates": 5}])
def test_a_trial_that_stays_where_it_was_ends(news: dict[str, float]) -> None:
    """Candidates that come from the memo were there before."""
    losses = Losses()
    for number in range(1, MAX_LOSSES + 1):
        assert losses.count("x") == (number == MAX_LOSSES)
        losses.told("x", news)
        losses.told("y", {"new_scored": 9})
