"""The scores of labels a pixel and of target images against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID
from raprune.plugins.scores.base import Score
from raprune.registry import SCORES

LABELS = torch.tensor([[[0, 0, 0], [0, 1, VOID]], [[VOID, 1, 0], [0, VOID, VOID]]], dtype=torch.uint8)
"""Two images of 2 x 3 pixels: six pixels of class 0, two of class 1, four void; classes 2 and 3 have none."""
PREDICTED = torch.tensor([[[0, 0, 0], [2, 1, 3]], [[1, 0, 0], [0, 0, 2]]])
"""Five of class 0 and one of class 1 are right; one 0 is called 2, one 1 is called 0; class 3 only where it is void."""
DENSE = ("global_accuracy", "mean_class_accuracy", "mean_iou")


def logits_of(classes_BHW: Tensor, num_classes: int = 4) -> Tensor:
    return 2.0 * F.one_hot(classes_BHW, num_classes).movedim(-1, 1).float()


def build(name: str) -> Score:
    score: Score = SCORES.build(name, {})
    return score


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("global_accuracy", 100 * 6 / 8),
        ("mean_class_accuracy", 100 * (5 / 6 + 1 / 2) / 2),
        ("mean_iou", 100 * (5 / 7 + 1 / 2 + 0) / 3),  # class 2 is predicted and in no label; class 3 is in neither
    ],
)
def test_values(name: str, expected: float) -> None:
    score = build(name)
    assert score.value(score.counts(logits_of(PREDICTED), LABELS), score.whole(LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("global_accuracy", 100 * 7 / 8),
        ("mean_class_accuracy", 100 * (5 / 6 + 2 / 2) / 2),
        ("mean_iou", 100 * (5 / 6 + 2 / 2 + 0) / 3),
    ],
)
def test_highest_after_the_first_image(name: str, expected: float) -> None:
    score = build(name)
    counts = score.counts(logits_of(PREDICTED[:1]), LABELS[:1])
    assert score.highest(counts, score.whole(LABELS[:1]), score.whole(LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "chance", "quantum"),
    [
        ("global_accuracy", 75.0, 100 / 8),
        ("mean_class_accuracy", 50.0, 100 / (2 * 6)),
        ("mean_iou", 37.5, 100 / (2 * 8)),
    ],
)
def test_chance_and_quantum(name: str, chance: float, quantum: float) -> None:
    score = build(name)
    assert score.chance(LABELS, 4) == chance
    assert score.quantum(score.whole(LABELS)) == pytest.approx(quantum)


@pytest.mark.parametrize("name", DENSE)
def test_void_pixels_count_nowhere(name: str) -> None:
    score = build(name)
    other = torch.where(LABELS == VOID, 3 - PREDICTED, PREDICTED)
    assert torch.equal(score.counts(logits_of(other), LABELS), score.counts(logits_of(PREDICTED), LABELS))
    torch.testing.assert_close(score.margins(logits_of(other), LABELS), score.margins(logits_of(PREDICTED), LABELS))
    logits = logits_of(PREDICTED).requires_grad_()
    score.loss(logits, LABELS).backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(1) > 0
    assert torch.equal(touched, LABELS != VOID)


@pytest.mark.parametrize("name", DENSE)
def test_the_loss_is_the_mean_over_labelled_pixels(name: str) -> None:
    right, wrong = (-math.log(math.exp(x) / (math.exp(2) + 3)) for x in (2, 0))
    loss = build(name).loss(logits_of(PREDICTED), LABELS)
    assert float(loss) == pytest.approx((6 * right + 2 * wrong) / 8)


@pytest.mark.parametrize("name", DENSE)
def test_the_margins_are_means_over_labelled_pixels(name: str) -> None:
    margins = build(name).margins(logits_of(PREDICTED), LABELS)
    assert margins.tolist() == pytest.approx([(4 * 2 - 2) / 5, (2 * 2 - 2) / 3])


@pytest.mark.parametrize("name", DENSE)
def test_images_without_a_label_change_nothing(name: str) -> None:
    score = build(name)
    void = torch.full((1, 2, 3), VOID, dtype=torch.uint8)
    logits = logits_of(PREDICTED[:1]).requires_grad_()
    loss = score.loss(logits, void)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()
    assert not score.counts(logits_of(PREDICTED[:1]), void).any()
    assert score.margins(logits_of(PREDICTED[:1]), void).tolist() == [math.inf]
    with pytest.raises(InputError, match="no pixel"):
        score.value(score.counts(logits_of(PREDICTED[:1]), void), score.whole(void))


@pytest.mark.parametrize("name", DENSE)
def test_logits_of_another_size_are_refused(name: str) -> None:
    score = build(name)
    for call in (score.loss, score.counts, score.margins):
        with pytest.raises(InputError, match="returns 2x4x1x3 for labels of 2x2x3"):
            call(logits_of(PREDICTED)[:, :, :1], LABELS)


def test_psnr_by_hand() -> None:
    score = build("psnr")
    target = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).view(1, 1, 2, 2)
    output = torch.tensor([10 / 255, 22.4 / 255, -1.0, 41 / 255]).view(1, 1, 2, 2)  # off by 0, 2, 30 and 1
    counts, whole = score.counts(output, target), score.whole(target)
    assert (counts.tolist(), whole.tolist()) == ([905], [4])
    assert score.value(counts, whole) == pytest.approx(10 * math.log10(255**2 * 4 / 905))
    assert score.highest(counts, whole, torch.tensor([8])) == pytest.approx(10 * math.log10(255**2 * 8 / 905))
    assert score.value(torch.tensor([0]), whole) == pytest.approx(10 * math.log10(255**2 * 4))
    assert score.chance(target, 0) == pytest.approx(10 * math.log10(255**2 * 4 / 500))  # mean grey 25
    assert score.margins(output, target).tolist() == [-905 / 4]
    assert score.counts(torch.full_like(output, math.nan), target).tolist() == [245**2 + 235**2 + 225**2 + 215**2]
    with pytest.raises(InputError, match="returns 1x1x2x1 for targets 1x1x2x2"):
        score.counts(output[..., :1], target)
