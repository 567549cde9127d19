"""Trials on a pool, with answers found by hand."""

from __future__ import annotations

import pytest

from raprune.preflight.estimate.course import Work, makespan_s, serial_s, spread_s


def work(update: float = 100.0, search: float = 20.0, commit: float = 10.0, own: float = 5.0, masks: int = 5) -> Work:
    return Work(update, search, commit, own, at_once=masks)


def test_in_one_process_everything_follows_one_another() -> None:
    assert serial_s([work(), work(own=0.0)]) == 135 + 130


@pytest.mark.parametrize(
    ("evaluators", "expected"),
    [
        (1, 100 + 35),
        (2, 100 * 3 / 5 + 35),  # five masks on two evaluators take three rounds
        (3, 100 * 2 / 5 + 35),
        (5, 100 / 5 + 35),
        (512, 100 / 5 + 35),
    ],
)
def test_one_trial_alone_takes_its_path(evaluators: int, expected: float) -> None:
    assert makespan_s([work()], evaluators, 2, 0.0) == pytest.approx(expected)


def test_calls_lengthen_the_path() -> None:
    calls = Work(10.0, num_calls=100.0, at_once=5)
    assert makespan_s([calls], 8, 2, 0.01) == pytest.approx(2.0 + 1.0)


def test_two_trials_keep_one_evaluator_busy() -> None:
    """Each asks for 130 of its 135 seconds; together they need 260, and what one does itself fits into the gaps."""
    assert makespan_s([work(), work()], 1, 2, 0.0) == pytest.approx(260)
    assert makespan_s([work()] * 6, 1, 2, 0.0) == pytest.approx(780)


def test_more_trials_than_fit_wait_for_one_to_end() -> None:
    assert makespan_s([work()] * 6, 10**6, 2, 0.0) == pytest.approx(3 * 55)
    assert makespan_s([work()] * 6, 10**6, 6, 0.0) == pytest.approx(55)


def test_more_evaluators_help_until_all_masks_are_in_work() -> None:
    times = [makespan_s([work()] * 4, number, 10**6, 0.0) for number in (1, 2, 4, 8, 20, 512)]
    assert times == sorted(times, reverse=True)
    assert times[-1] == times[-2] == pytest.approx(55)


def test_baselines_are_spread() -> None:
    assert spread_s([3.0, 2.0, 2.0], 1) == 7
    assert spread_s([3.0, 2.0, 2.0], 2) == 4
    assert spread_s([3.0, 2.0, 2.0], 512) == 3
    assert spread_s([], 4) == 0
