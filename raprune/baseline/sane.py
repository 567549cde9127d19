"""Whether a baseline has learned anything: checked before anything is pruned, which would be meaningless."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from raprune.baseline.chance import Answers
from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.scores.base import CLASS_LABELS, Score, advance, merged

FEW_IMAGES, MORE_IMAGES = 100, 500
"""Below ``FEW_IMAGES`` validation images, ``MORE_IMAGES`` training images tell a network from chance instead."""
MAX_PAIRS = 10
"""Most class pairs that a message lists."""
MIN_ABOVE = 1.0
"""Points by which a detection network must find an image's own boxes better than those of the next image."""


@torch.inference_mode()
def outputs(network: nn.Module, splits: Splits, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The network's outputs and the labels of ``split``, batch by batch, on the CPU."""
    for images, labels in split.batches(batch_size):
        yield forward(network, splits, images), labels


def forward(network: nn.Module, splits: Splits, images_BCHW: Tensor) -> Tensor:
    """The network's outputs for images of the data set, on the CPU."""
    parameter = next(network.parameters())
    inputs = normalise(images_BCHW.to(parameter.device), splits, parameter.dtype)
    logits: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
    return logits.cpu()


def check_sane(network: nn.Module, splits: Splits, split: Split, score: Score, batch_size: int) -> float:
    """The score on ``split``; raises :class:`InputError` at chance level or if the classes look permuted.

    Answers that do not depend on the label are at chance level (``chance.py``), including those of a network that
    always answers the most frequent class. Few images, or images of one class, cannot show it; training images are then
    used instead. An image-to-image network must beat the mean grey of all targets, unless they are all one grey. A
    detection network must score ``MIN_ABOVE`` more than with each image's boxes exchanged for those of the next.
    """
    answers, exchanged = Answers(splits.num_classes), []
    tally, whole, others_B = None, score.whole(split.labels_B), split.labels_B.roll(1, 0)
    for logits, labels in outputs(network, splits, split, batch_size):
        if split.kind in CLASS_LABELS:
            answers.add(logits, labels)
        elif split.kind == "boxes":
            first = 0 if tally is None else tally.num_images
            exchanged.append(score.counts(logits, others_B[first : first + len(labels)]))
        tally = advance(score, tally, logits, labels, whole)
    assert tally is not None
    value = tally.highest
    if split.kind == "image":
        _check_permutation(answers, value)
    chance, what = score.chance(split.labels_B, splits.num_classes), "one answer for all images"
    if split.kind == "boxes":
        chance, what = score.value(merged(score, exchanged), whole), "with the boxes of other images, it"
        learned = value >= chance + MIN_ABOVE
    elif split.kind == "target":
        learned = value > chance or bool(split.labels_B.min() == split.labels_B.max())
    else:
        learned = _tells(network, splits, split, answers, batch_size)
    if not learned:
        sign = "%" if score.unit == "percent" else f" {score.unit}"
        raise InputError(
            f"the baseline scores {value:.1f}{sign} on {len(split)} validation images, no better than chance "
            f"({what} scores {chance:.1f}{sign}): train it longer, or check its checkpoint, normalisation and labels"
        )
    return value


def _tells(network: nn.Module, splits: Splits, split: Split, answers: Answers, batch_size: int) -> bool:
    """Whether a network's classes follow the labels; on training images where ``split`` cannot show it."""
    learned = answers.tell()
    if not learned and (len(split) < FEW_IMAGES or answers.num_label_classes < 2):
        more, some = Answers(splits.num_classes), splits.train.take(spread(len(splits.train), MORE_IMAGES))
        for logits, labels in outputs(network, splits, some, batch_size):
            more.add(logits, labels)
        learned = more.tell()
    return learned


def spread(number: int, most: int) -> Tensor:
    """Indices of at most ``most`` of ``number`` images, evenly spread, because images may be sorted by class."""
    return torch.arange(min(number, most)) * number // min(number, most)


def _check_permutation(answers: Answers, value: float) -> None:
    pairs, best = answers.permutation()
    if pairs and best > 60.0 and best > 2 * value:
        swapped = ", ".join(f"{label}->{answer}" for label, answer in pairs[:MAX_PAIRS])
        more = f" and {len(pairs) - MAX_PAIRS} more" if len(pairs) > MAX_PAIRS else ""
        raise InputError(
            f"the baseline's classes look permuted: {value:.1f}% as they are, {best:.1f}% with labels {swapped}{more}"
        )
