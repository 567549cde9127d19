"""A network no better than chance is refused, and no other, whatever the number and balance of classes and images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from raprune.baseline.sane import check_sane, spread
from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID, Split, Splits
from raprune.registry import SCORES


class Told(nn.Module):
    """Its images hold the class that it answers, pixel by pixel or all over."""

    def __init__(self, num_classes: int, per_pixel: bool) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.arange(float(num_classes)).view(1, -1, 1, 1))
        self.per_pixel = per_pixel

    def forward(self, images_B1HW: Tensor) -> Tensor:
        logits = -(images_B1HW - self.classes).abs()
        return logits if self.per_pixel else logits[:, :, 0, 0]


def holding(answers: Tensor) -> Tensor:
    return answers.float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4) if answers.dim() == 1 else answers.float()[:, None]


def check(
    labels: Tensor, answers: Tensor, num_classes: int, score: str = "top1_accuracy", train: Split | None = None
) -> float:
    """``check_sane`` of a network that gives ``answers``; on training images it is as right as ``train`` says."""
    val = Split(holding(answers), labels)
    splits = Splits(train or val, val, None, num_classes)
    network = Told(num_classes, labels.dim() > 1)
    return check_sane(network, splits, val, SCORES.build(score, {}), 50)


def labels_of(*numbers: int) -> Tensor:
    """So many images of each class."""
    return torch.cat([torch.full((number,), label) for label, number in enumerate(numbers)])


def shuffled(values: Tensor, seed: int = 0) -> Tensor:
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]


BALANCES = {
    "95 to 5": labels_of(181, 9),
    "99 to 1": labels_of(198, 2),
    "one of a class": labels_of(299, 1),
    "ten classes": labels_of(*[20] * 10),
    "a long tail": labels_of(500, 100, 20, 4, 1),
    "a thousand classes, 200 images": shuffled(torch.arange(1000))[:200],
    "ten images": labels_of(5, 5),
    "three images": labels_of(2, 1),
}


@pytest.mark.parametrize("name", BALANCES)
def test_a_network_without_errors_passes(name: str) -> None:
    labels = BALANCES[name]
    assert check(labels, labels, max(2, int(labels.max()) + 1)) == 100.0


@pytest.mark.parametrize("name", BALANCES)
def test_one_answer_for_all_and_answers_of_other_images_are_refused(name: str) -> None:
    labels = BALANCES[name]
    num_classes = max(2, int(labels.max()) + 1)
    most = torch.full_like(labels, int(labels.bincount().argmax()))
    with pytest.raises(InputError, match="no better than chance"):
        check(labels, most, num_classes)
    if len(labels) > 100:
        for seed in range(3):
            with pytest.raises(InputError, match="no better than chance"):
                check(labels, shuffled(labels, seed), num_classes)


def test_a_network_that_finds_some_of_a_rare_class_passes() -> None:
    """And one that is less often right than the most frequent class, for it finds the rare ones."""
    labels = labels_of(181, 9)
    found = torch.zeros_like(labels)
    found[-6:] = 1
    assert check(labels, found, 2) > 95
    eager = labels.clone()
    eager[:20] = 1
    assert check(labels, eager, 2) < 95


def test_a_few_right_among_a_thousand_classes_pass() -> None:
    labels = shuffled(torch.arange(1000))[:200]
    answers = (labels + 1) % 1000
    answers[:12] = labels[:12]
    assert check(labels, answers, 1000) == 6.0


def test_validation_images_of_one_class_are_not_all_that_is_looked_at() -> None:
    labels = labels_of(150)
    both = labels_of(60, 60)
    answers = labels.clone()
    answers[:9] = 1
    assert check(labels, answers, 2, train=Split(holding(both), both)) == 94.0
    for of_train in (torch.zeros_like(both), shuffled(both)):
        with pytest.raises(InputError, match="no better than chance"):
            check(labels, labels, 2, train=Split(holding(of_train), both))


def test_what_only_training_images_tell_is_not_enough_where_there_are_many_others() -> None:
    labels = labels_of(100, 100)
    with pytest.raises(InputError, match="no better than chance"):
        check(labels, shuffled(labels), 2, train=Split(holding(labels), labels))


DENSE = ["global_accuracy", "mean_class_accuracy", "mean_iou"]


def street(road: float, number: int = 6) -> Tensor:
    """Labels a pixel: void, road for so large a share, and two other classes in blocks that differ."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(number, 8, 8, generator=generator)
    labels = torch.where(coarse < road, 0, torch.where(coarse < (1 + road) / 2, 1, 2))
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
    labels[:, :2] = VOID
    return labels


@pytest.mark.parametrize("score", DENSE)
@pytest.mark.parametrize("road", [0.4, 0.9, 0.99])
def test_labels_a_pixel(score: str, road: float) -> None:
    labels = street(road)
    right = labels.where(labels != VOID, 0)
    assert check(labels, right, 3, score) == 100.0
    noise = torch.randint(0, 3, labels.shape, generator=torch.Generator().manual_seed(2))
    for answers in (torch.zeros_like(labels), noise, shuffled(right.flatten()).view_as(right)):
        with pytest.raises(InputError, match="no better than chance"):
            check(labels, answers, 3, score)
    some = torch.where(noise == 0, right, 0)
    assert check(labels, some, 3, score) > 0


def test_pixels_of_one_class_alone() -> None:
    labels, both = torch.zeros(120, 4, 4, dtype=torch.uint8), street(0.5)[:, :4, :4]
    assert check(labels, labels, 3, "global_accuracy", Split(holding(both.where(both != VOID, 0)), both)) == 100.0
    with pytest.raises(InputError, match="no better than chance"):
        check(labels, labels, 3, "global_accuracy", Split(holding(torch.zeros_like(both)), both))


class Same(nn.Module):
    def __init__(self, grey: float | None) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.tensor(-1.0 if grey is None else grey))

    def forward(self, images: Tensor) -> Tensor:
        return images if self.grey < 0 else images * 0 + self.grey


def test_psnr() -> None:
    score = SCORES.build("psnr", {})
    targets = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for grey, values in ((None, targets), (128 / 255, torch.full_like(targets, 128))):
        val = Split(values.float() / 255, values)
        assert check_sane(Same(grey), Splits(val, val, None, 1), val, score, 2) > 50  # without error
    val = Split(targets.float() / 255, targets)
    with pytest.raises(InputError, match="no better than chance"):
        check_sane(Same(float(targets.float().mean().round()) / 255), Splits(val, val, None, 1), val, score, 2)


def test_images_are_looked_at_evenly() -> None:
    assert spread(7, 3).tolist() == [0, 2, 4]
    assert spread(3, 500).tolist() == [0, 1, 2]
    assert len(set(spread(50_000, 500).tolist())) == 500


@pytest.mark.parametrize("num_classes", [2, 10, 40])
def test_permuted_classes_are_told(num_classes: int) -> None:
    labels = labels_of(*[12] * num_classes)
    with pytest.raises(InputError, match=r"look permuted: 0\.0% as they are, 100\.0% with labels 0->1, 1->"):
        check(labels, (labels + 1) % num_classes, num_classes)


def test_few_images_a_class_do_not_look_permuted() -> None:
    """One image of each of 200 classes: some permutation makes every answer right, whatever the network."""
    labels = shuffled(torch.arange(1000))[:200]
    answers = labels.clone()
    answers[80:] = (labels[80:] + 1) % 1000
    assert check(labels, answers, 1000) == 40.0
