"""What paired answers say of a drop: both limits against cases by hand and against a likelihood maximised by search."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch

from raprune.engine.paired import Paired, PairedCounts, images_needed, is_share, largest_difference
from raprune.plugins.datasets.base import Split
from raprune.plugins.scores.base import Score
from raprune.preflight.guarding import GuardFacts
from raprune.registry import SCORES

Z = 1.6448536269514722


def statistic(lost: int, won: int, number: int, d: float) -> float:
    """Tango's statistic, with the nuisance share found by trying 400,000 of them."""
    q = np.linspace(1e-9, (1 - d) / 2 - 1e-9, 400_001)
    likelihood = lost * np.log(q + d) + (won * np.log(q) if won else 0) + (number - lost - won) * np.log(1 - 2 * q - d)
    best = q[likelihood.argmax()]
    return float((lost - won - number * d) / math.sqrt(number * (2 * best + d * (1 - d))))


@pytest.mark.parametrize(("lost", "won", "number"), [(12, 2, 50), (40, 20, 160), (5, 0, 100), (3, 6, 200)])
def test_the_limit_is_where_the_score_test_just_fails_to_reject(lost: int, won: int, number: int) -> None:
    limit = largest_difference(lost, won, number, 0.95)
    assert limit > (lost - won) / number
    assert statistic(lost, won, number, limit) == pytest.approx(-Z, abs=1e-4)


def test_without_a_single_change_the_limit_is_known_in_closed_form() -> None:
    """Then q is 0, and n d^2 = z^2 d (1 - d)."""
    assert largest_difference(0, 0, 250, 0.95) == pytest.approx(Z**2 / (250 + Z**2))
    assert largest_difference(7, 3, 100, 0.5) == pytest.approx(0.04)


def test_the_images_needed_are_the_fewest() -> None:
    least = images_needed(0.0, 0.0, 1.0, 0.95)
    assert least == math.ceil(Z**2 * 99)  # z^2 / (n + z^2) is at most 1%
    number = images_needed(1.0, 5.0, 2.0, 0.95)
    assert 100 * largest_difference(number * 0.03, number * 0.02, number, 0.95) <= 2
    assert 100 * largest_difference((number - 1) * 0.03, (number - 1) * 0.02, number - 1, 0.95) > 2
    with pytest.raises(ValueError, match="not below the bound"):
        images_needed(2.0, 5.0, 2.0, 0.95)


def compared(score: Score, first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, size: int) -> Paired:
    counts = PairedCounts(score, len(labels))
    for start in range(0, len(labels), size):
        batch = slice(start, start + size)
        counts.add(first[batch], second[batch], labels[batch])
    return counts.result()


def test_right_images_are_counted_in_pairs() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    logits = {0: [1.0, 0.0], 1: [0.0, 1.0]}
    first = torch.tensor([logits[k] for k in (0, 0, 1, 1, 0)])  # right, right, right, right, wrong
    second = torch.tensor([logits[k] for k in (0, 1, 0, 1, 1)])  # right, wrong, wrong, right, right
    score: Score = SCORES.build("top1_accuracy", {})
    found = compared(score, first, second, labels, 2)
    assert (found.score, found.drop, found.num_images, found.lost, found.won) == (60.0, 20.0, 5, 2, 1)
    assert found.limit(0.95) == 100 * largest_difference(2, 1, 5, 0.95)
    assert found == compared(score, first, second, labels, 5)


def test_other_scores_use_the_jackknife() -> None:
    """Of a mean over images the jackknife's error is the usual one of the mean."""

    class Mean:
        unit, labels = "percent", "image"

        def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return logits.sum()[None].long()

        def whole(self, labels: torch.Tensor) -> torch.Tensor:
            return torch.tensor([10 * len(labels)])

        def value(self, counts: torch.Tensor, whole: torch.Tensor) -> float:
            return 100.0 * int(counts) / int(whole)

    first, second = torch.tensor([9, 8, 7, 9, 5]), torch.tensor([8, 8, 4, 9, 6])
    found = compared(Mean(), first, second, torch.zeros(5, dtype=torch.long), 2)  # type: ignore[arg-type]
    drops = 10 * (first - second).double().numpy()
    assert found.drop == pytest.approx(drops.mean())
    assert found.standard_error == pytest.approx(drops.std(ddof=1) / math.sqrt(5))
    assert found.limit(0.95) == pytest.approx(drops.mean() + 2.131847 * found.standard_error)  # t of 4 degrees
    assert found.lost is None


def test_a_score_in_which_some_images_count_for_more_is_no_share_of_images() -> None:
    """Ten images that count nine times each are half of the score: their number says nothing of the drop."""
    weights, eye = torch.tensor([1, 1, 9]), torch.eye(3)

    class Weighted:
        unit, labels = "percent", "image"

        def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return (weights[labels] * (logits.argmax(1) == labels)).sum()[None]

        def whole(self, labels: torch.Tensor) -> torch.Tensor:
            return weights[labels].sum()[None]

        def value(self, counts: torch.Tensor, whole: torch.Tensor) -> float:
            return 100.0 * int(counts[0]) / int(whole[0])

        def quantum(self, whole: torch.Tensor) -> float:
            return 100.0 / int(whole[0])

    score, labels = cast(Score, Weighted()), torch.tensor([0] * 90 + [2] * 10)
    found = compared(score, eye[labels], eye[labels.where(labels == 0, 1)], labels, 20)
    assert (found.drop, found.lost, found.won) == (50.0, None, None)
    assert found.limit(0.95) > found.drop
    facts = GuardFacts.of(Split(torch.zeros(100, 1, 2, 2, dtype=torch.uint8), labels), score)
    assert facts is not None
    assert not facts.counts_images


@pytest.mark.parametrize("name", SCORES.names())
def test_only_top1_is_a_share_of_right_images(name: str) -> None:
    assert is_share(SCORES.build(name, {})) == (name == "top1_accuracy")


def test_many_images_are_left_out_in_groups() -> None:
    labels = torch.zeros(950, 1, 1, dtype=torch.uint8)  # images of one pixel
    logits = torch.randn(2, 950, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    found = compared(SCORES.build("global_accuracy", {}), logits[0], logits[1], labels, 100)
    assert found.num_groups == 200
    right = [(logits[k].argmax(1) == 0).double() for k in (0, 1)]
    expected = 100 * float((right[0] - right[1]).std()) / math.sqrt(950)
    assert found.standard_error == pytest.approx(expected, rel=0.2)
