"""Every score: percent from additive counts, with an exact upper bound while images are still to come.

Shapes: B images, K classes.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from raprune.registry import SCORES, Plugin
from raprune.scoring import Score, score_batches

NUM_IMAGES, NUM_CLASSES, BATCH = 60, 5, 7

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in SCORES])


def build(plugin: Plugin) -> Score:
    score: Score = SCORES.build(plugin.name, {})
    return score


def labels() -> Tensor:
    return torch.arange(NUM_IMAGES) % NUM_CLASSES


def perfect() -> Tensor:
    """Logits (B, K) whose largest is at the label."""
    return 10.0 * torch.nn.functional.one_hot(labels(), NUM_CLASSES)


def noisy(seed: int, strength: float = 8.0) -> Tensor:
    """Logits (B, K) that are right for some of the images."""
    return perfect() + strength * torch.randn(NUM_IMAGES, NUM_CLASSES, generator=torch.Generator().manual_seed(seed))


@every
def test_values_are_percent(plugin: Plugin) -> None:
    score = build(plugin)
    values = [score.value(score.counts(noisy(seed), labels()), NUM_IMAGES) for seed in range(10)]
    assert all(0 <= value <= 100 for value in values)
    assert len(set(values)) > 1


@every
def test_perfect_is_100_and_all_wrong_is_0(plugin: Plugin) -> None:
    score = build(plugin)
    assert score.value(score.counts(perfect(), labels()), NUM_IMAGES) == 100.0
    assert score.value(score.counts(perfect().roll(1, 1), labels()), NUM_IMAGES) == 0.0


@every
def test_counts_are_integers_that_add_up(plugin: Plugin) -> None:
    score, logits = build(plugin), noisy(0)
    whole = score.counts(logits, labels())
    parts = [score.counts(x, y) for x, y in zip(logits.split(BATCH), labels().split(BATCH), strict=True)]
    assert whole.dtype == torch.int64
    assert torch.equal(torch.stack(parts).sum(0), whole)


@every
@pytest.mark.parametrize("seed", range(5))
def test_highest_only_falls_and_ends_at_the_value(plugin: Plugin, seed: int) -> None:
    score, logits = build(plugin), noisy(seed)
    value = score.value(score.counts(logits, labels()), NUM_IMAGES)
    highest = [
        score.highest(score.counts(logits[:seen], labels()[:seen]), seen, NUM_IMAGES)
        for seen in range(BATCH, NUM_IMAGES + 1)
    ]
    assert all(later <= earlier for earlier, later in itertools.pairwise(highest))
    assert highest[-1] == value
    assert min(highest) >= value


@every
@pytest.mark.parametrize("seed", range(5))
def test_an_early_exit_is_exact(plugin: Plugin, seed: int) -> None:
    score, logits = build(plugin), noisy(seed)
    value = score.value(score.counts(logits, labels()), NUM_IMAGES)

    def scored(lowest: float) -> tuple[float | None, int]:
        batches = [(lambda x=x: x, y) for x, y in zip(logits.split(BATCH), labels().split(BATCH), strict=True)]
        return score_batches(score, batches, NUM_IMAGES, lowest)

    assert scored(value) == (value, NUM_IMAGES)
    assert scored(value + 1e-9)[0] is None
    early, seen = scored(100.0)
    assert early is None or value == 100.0
    assert seen <= NUM_IMAGES


@every
def test_loss_is_a_scalar_that_learns(plugin: Plugin) -> None:
    score = build(plugin)
    logits = noisy(0).requires_grad_()
    loss = score.loss(logits, labels())
    loss.backward()
    assert loss.shape == ()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (
        float(score.loss(perfect(), labels()))
        < float(loss.detach())
        < float(score.loss(perfect().roll(1, 1), labels()))
    )
    half = NUM_IMAGES // 2
    mean = (score.loss(perfect()[:half], labels()[:half]) + score.loss(perfect()[half:], labels()[half:])) / 2
    torch.testing.assert_close(mean, score.loss(perfect(), labels()))


@every
def test_chance_is_between_nothing_and_all(plugin: Plugin) -> None:
    score = build(plugin)
    assert 0 < score.chance(labels(), NUM_CLASSES) < 100
    assert score.chance(torch.zeros(NUM_IMAGES, dtype=torch.int64), NUM_CLASSES) <= 100


@every
def test_margins_tell_the_safe_images_from_the_others(plugin: Plugin) -> None:
    score = build(plugin)
    assert score.margins(noisy(0), labels()).shape == (NUM_IMAGES,)
    assert (score.margins(perfect(), labels()) > 0).all()
    assert (score.margins(perfect().roll(1, 1), labels()) < 0).all()
    assert (score.margins(2 * perfect(), labels()) > score.margins(perfect(), labels())).all()


@every
def test_standard_error_falls_with_more_images(plugin: Plugin) -> None:
    score = build(plugin)
    errors = [score.standard_error(80.0, number) for number in (10, 100, 1000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_top1_accuracy_by_hand() -> None:
    score: Score = SCORES.build("top1_accuracy", {})
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [0.0, 1.0]])
    target = torch.tensor([0, 0, 0, 1])
    counts = score.counts(logits, target)
    assert score.value(counts, 4) == 75.0
    assert score.highest(counts, 4, 10) == 90.0
    assert score.margins(logits, target).tolist() == [2.0, -2.0, 1.0, 1.0]
    assert score.chance(target, 2) == 75.0
    assert score.standard_error(75.0, 300) == pytest.approx(2.5)
