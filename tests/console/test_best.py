"""The sentence that ends a search."""

from __future__ import annotations

from raprune.console.best import best_sentence
from raprune.study.search import SearchSpec

ROWS = [
    {"trial_id": "a", "status": "completed", "macs": 50, "baseline_macs": 100, "val_score_drop": 1.0},
    {"trial_id": "b", "status": "completed", "macs": 30, "baseline_macs": 100, "val_score_drop": 2.5},
    {"trial_id": "c", "status": "completed", "macs": 20, "baseline_macs": 100, "val_score_drop": 5.0},
    {"trial_id": "d", "status": "failed", "macs": float("nan"), "baseline_macs": None, "val_score_drop": None},
]
AXES = {"a": {"method": "taylor", "drop_bound": "1.0"}, "b": {"method": "taylor", "drop_bound": "3.0"}}


def search(limit: float) -> SearchSpec:
    return SearchSpec(over={"order": ["a"]}, minimise="macs_left", at_most={"val_score_drop": limit})


def test_the_best_within_the_limits() -> None:
    said = best_sentence(search(3.0), ROWS, AXES)
    assert said == "the best trial: b (taylor, drop_bound 3.0): macs_left 0.3, val_score_drop 2.5"
    assert best_sentence(search(9.0), ROWS, AXES).startswith("the best trial: c ")


def test_none_within_the_limits_or_none_at_all() -> None:
    assert best_sentence(search(0.5), ROWS, AXES).startswith("no trial is within the limits; the nearest: a ")
    assert best_sentence(search(0.5), ROWS[3:], AXES).startswith("the search found nothing yet")
