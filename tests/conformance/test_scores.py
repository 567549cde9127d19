"""Every score: a value from additive counts, with an exact upper bound while images are still to come.

Shapes: B images, K classes, C channels, H x W pixels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID
from raprune.plugins.scores import base
from raprune.plugins.scores.base import Score, Tally, merged, score_batches
from raprune.registry import SCORES, Plugin
from tests.detection import boxes_in_cells, rows_for

NUM_IMAGES, NUM_CLASSES, BATCH = 60, 5, 7

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in SCORES])
seeds = pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))])


def build(plugin: Plugin) -> Score:
    score: Score = SCORES.build(plugin.name, {})
    return score


@dataclass(frozen=True)
class Case:
    """Labels of the kind that a score is for, and outputs for them."""

    labels: Tensor
    perfect: Tensor
    wrong: Tensor
    """Wrong everywhere."""
    constants: list[Tensor]
    """Each the same answer everywhere."""

    def noisy(self, seed: int) -> Tensor:
        """Right for a part of the images or pixels."""
        share = 0.3 if self.labels.is_floating_point() else 0.8  # scores of detections that are all 1 say nothing
        strength = share * (self.perfect.max() - self.perfect.min())
        noise = strength * torch.randn(self.perfect.shape, generator=torch.Generator().manual_seed(seed))
        return self.perfect + noise * self.varies

    @property
    def varies(self) -> Tensor:
        """Where outputs may differ: everywhere but in the anchors of a detection network, and in what moves them."""
        varies = torch.ones_like(self.perfect)
        if self.labels.is_floating_point():
            varies[..., :8] = 0
        return varies


def class_case(labels: Tensor) -> Case:
    """Logits (B, K, ...) for labels (B, ...); classes are not equally frequent."""
    one_hot = F.one_hot(labels.long().where(labels != VOID, 0), NUM_CLASSES).movedim(-1, 1).float()
    constants = [torch.zeros_like(one_hot).index_fill(1, torch.tensor([k]), 1.0) for k in range(NUM_CLASSES)]
    return Case(labels, 10 * one_hot, 10 * one_hot.roll(1, 1), constants)


def image_case() -> Case:
    return class_case((torch.arange(NUM_IMAGES) % (NUM_CLASSES + 2)).clamp(max=NUM_CLASSES - 1))


def pixel_case() -> Case:
    """Labels (B, H, W), void in the first row of each image."""
    labels = torch.arange(NUM_IMAGES * 6 * 4) % (NUM_CLASSES + 2)
    labels = labels.clamp(max=NUM_CLASSES - 1).view(NUM_IMAGES, 6, 4).to(torch.uint8)
    labels[:, 0] = VOID
    return class_case(labels)


def target_case() -> Case:
    """Targets (B, C, H, W) of an image-to-image network."""
    shape = (NUM_IMAGES, 3, 6, 4)
    labels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    greys = [torch.full(shape, grey / 255) for grey in range(256)]
    return Case(labels, labels / 255, (labels < 128).float(), greys)


def box_case() -> Case:
    """Two boxes an image, each in a cell of a grid, and a row without one."""
    labels = boxes_in_cells(NUM_IMAGES, 2, NUM_CLASSES)
    perfect, others = rows_for(labels, NUM_CLASSES, strength=3.0), labels.clone()
    others[..., 0] = torch.where(labels[..., 0] > 0, labels[..., 0] % (NUM_CLASSES - 1) + 1, labels[..., 0])
    nothing = labels.clone()
    nothing[..., 0] = -1
    return Case(labels, perfect, rows_for(others, NUM_CLASSES, strength=3.0), [rows_for(nothing, NUM_CLASSES)])


def case_for(score: Score) -> Case:
    """Of the kind of labels that the score takes; scores of labels a pixel refuse others."""
    if score.labels == "boxes":
        return box_case()
    if score.unit == "dB":
        return target_case()
    try:
        score.counts(image_case().perfect, image_case().labels)
    except InputError:
        return pixel_case()
    return image_case()


def value(score: Score, outputs: Tensor, labels: Tensor) -> float:
    return score.value(score.counts(outputs, labels), score.whole(labels))


@every
def test_values_have_their_unit(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    values = [value(score, case.noisy(seed), case.labels) for seed in range(10)]
    assert score.unit in ("percent", "dB")
    assert all(0 <= v <= 100 for v in values)
    assert len(set(values)) > 1


@every
def test_perfect_is_the_most_and_wrong_everywhere_the_least(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    best, noisy, worst = (value(score, of, case.labels) for of in (case.perfect, case.noisy(0), case.wrong))
    assert best > noisy > worst
    if score.unit == "percent":
        assert (best, worst) == (100.0, 0.0)


@every
def test_counts_and_totals_are_integers_that_add_up(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    logits, labels = case.noisy(0), case.labels
    counts, whole = score.counts(logits, labels), score.whole(labels)
    parts = list(zip(logits.split(BATCH), labels.split(BATCH), strict=True))
    assert counts.dtype == whole.dtype == torch.int64
    assert torch.equal(merged(score, [score.counts(x, y) for x, y in parts]), counts)
    assert torch.equal(torch.stack([score.whole(y) for _, y in parts]).sum(0), whole)


@every
@seeds
def test_highest_only_falls_and_ends_at_the_value(plugin: Plugin, seed: int) -> None:
    score = build(plugin)
    case = case_for(score)
    logits, labels = case.noisy(seed), case.labels
    whole = score.whole(labels)
    highest = [
        score.highest(score.counts(logits[:seen], labels[:seen]), score.whole(labels[:seen]), whole)
        for seen in range(1, NUM_IMAGES + 1)
    ]
    assert all(later <= earlier for earlier, later in itertools.pairwise(highest))
    assert highest[-1] == value(score, logits, labels)


@every
def test_highest_is_reached_where_the_rest_is_right(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    right = case.perfect * (1 + 9 * case.varies) if score.labels == "boxes" else case.perfect  # ahead of all others
    for seen in (1, 20, 59):
        logits = torch.cat([case.noisy(3)[:seen], right[seen:]])
        counts, part = score.counts(logits[:seen], case.labels[:seen]), score.whole(case.labels[:seen])
        assert score.highest(counts, part, score.whole(case.labels)) == value(score, logits, case.labels)


@every
@seeds
def test_an_early_exit_is_exact(plugin: Plugin, seed: int) -> None:
    score = build(plugin)
    case = case_for(score)
    logits, labels = case.noisy(seed), case.labels
    found = value(score, logits, labels)

    def scored(lowest: float | None, start: Tally | None = None) -> tuple[float | None, Tally]:
        first = start.num_images if start else 0
        batches = [
            (lambda x=x: x, y) for x, y in zip(logits[first:].split(BATCH), labels[first:].split(BATCH), strict=True)
        ]
        tally = score_batches(score, batches, score.whole(labels), lowest, start)
        return tally.score(lowest), tally

    assert scored(found)[0] == found
    assert scored(found)[1] == scored(None)[1]
    assert scored(None)[1].num_images == NUM_IMAGES
    assert scored(found + 1e-9)[0] is None
    nothing, early = scored(value(score, case.perfect, labels))
    assert nothing is None
    assert early.num_images < NUM_IMAGES
    assert scored(None, early)[1] == scored(None)[1]


@every
def test_loss_is_a_scalar_that_learns(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    logits = case.noisy(0).requires_grad_()
    loss = score.loss(logits, case.labels)
    loss.backward()
    assert loss.shape == ()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    perfect, wrong = (float(score.loss(of, case.labels)) for of in (case.perfect, case.wrong))
    assert perfect < float(loss.detach())
    assert perfect < wrong
    half = NUM_IMAGES // 2  # both halves have as many labelled pixels
    first, second = (score.loss(case.noisy(0)[part], case.labels[part]) for part in (slice(half), slice(half, None)))
    torch.testing.assert_close((first + second) / 2, loss.detach())


@every
def test_chance_is_the_best_of_always_answering_the_same(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    chance = score.chance(case.labels, NUM_CLASSES)
    assert chance == pytest.approx(max(value(score, constant, case.labels) for constant in case.constants))
    assert 0 <= chance < value(score, case.perfect, case.labels)
    assert chance > 0 or score.labels == "boxes"


@every
def test_margins_tell_the_safe_images_from_the_others(plugin: Plugin) -> None:
    score = build(plugin)
    case = case_for(score)
    perfect, noisy, wrong = (score.margins(of, case.labels) for of in (case.perfect, case.noisy(0), case.wrong))
    assert perfect.shape == (NUM_IMAGES,)
    assert perfect.mean() > noisy.mean()
    assert (perfect > wrong).all()
    if score.unit == "percent":
        assert (perfect > 0).all()
        assert (wrong < 0).all()
        assert (score.margins(case.perfect * (1 + case.varies), case.labels) > perfect).all()


@every
def test_quantum_is_no_more_than_an_image_and_shrinks_with_more_of_them(plugin: Plugin) -> None:
    score = build(plugin)
    labels = case_for(score).labels
    quantum = score.quantum(score.whole(labels))
    assert 0 <= quantum <= 100 / NUM_IMAGES
    assert score.quantum(score.whole(torch.cat([labels, labels]))) == pytest.approx(quantum / 2)


@every
def test_standard_error_falls_with_more_images_or_is_unknown(plugin: Plugin) -> None:
    score = build(plugin)
    errors = [score.standard_error(80.0, number) for number in (10, 100, 1000)]
    known = [error for error in errors if error is not None]
    assert len(known) in (0, 3)
    assert known == sorted(known, reverse=True)
    assert all(error > 0 for error in known)


def test_top1_accuracy_by_hand() -> None:
    score: Score = SCORES.build("top1_accuracy", {})
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [0.0, 1.0]])
    target = torch.tensor([0, 0, 0, 1])
    counts = score.counts(logits, target)
    assert score.value(counts, score.whole(target)) == 75.0
    assert score.highest(counts, score.whole(target), torch.tensor([10])) == 90.0
    assert score.quantum(torch.tensor([400])) == 0.25
    assert score.margins(logits, target).tolist() == [2.0, -2.0, 1.0, 1.0]
    assert score.chance(target, 2) == 75.0
    assert score.standard_error(75.0, 300) == pytest.approx(2.5)


@every
def test_batches_counted_at_once_give_the_same_tally(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last batches have no label that counts, so that all is known before them."""
    score = build(plugin)
    case = case_for(score)
    logits, labels = case.noisy(0), case.labels.clone()
    if score.labels == "pixel":
        labels[6 * BATCH :] = VOID
    batches = [(lambda x=x: x, y) for x, y in zip(logits.split(BATCH), labels.split(BATCH), strict=True)]
    found = {}
    for number in (1, 3, 16):
        monkeypatch.setattr(base, "BATCHES_A_WAIT", number)
        found[number] = score_batches(score, batches, score.whole(labels))
    assert found[1] == found[3] == found[16]
    assert found[1].num_images == (6 * BATCH if score.labels == "pixel" else NUM_IMAGES)
