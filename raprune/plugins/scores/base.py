"""The contract of a score, and how a network is scored on a split with an exact early exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from raprune.plugins.datasets.base import Split

BATCHES_A_WAIT = 16
"""Batches whose counts a GPU is asked for at once, where all images are seen in any case."""
CLASS_LABELS = ("image", "pixel")
"""The kinds of labels for which a network's output has one logit a class along its dimension 1."""


class Score(Protocol):
    """A measure of quality (higher is better), computed from integer counts summed over images.

    Logits are (B, K) for labels (B,), and (B, K, H, W) for labels per pixel (B, H, W), in which ``VOID`` (255) is
    ignored; an image-to-image network's output is (B, C, H, W), like its labels. For boxes (B, N, 6) the output is
    (B, A, columns), one row for each anchor.

    A score of boxes may have ``num_columns(num_classes) -> int``, and ``head``, the family of networks that it is for.
    A score that is no function of sums has ``merged(parts) -> Tensor``, which joins the counts of several parts of a
    split: the same, whatever the order and the sizes of the parts. Without it counts are added (:func:`merged`).
    """

    unit: str
    """``percent``, or ``dB``; drops and bounds are in points of it."""
    labels: str
    """Labels it takes: ``image`` (one class per image), ``pixel`` (one class per pixel), ``target`` (an image), or
    ``boxes``."""

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """The matching training loss: a scalar, averaged over the batch."""

    def counts(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """int64 counts of one batch; the counts of a split are their sum, or what ``merged`` makes of them."""

    def whole(self, labels_B: Tensor) -> Tensor:
        """int64 totals that depend on the labels alone, summed over batches: what there is to get right."""

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """The score of a split with the totals ``whole``, in ``unit``."""

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The best score still possible when ``seen`` of ``whole`` has been counted; equal to ``value`` at the end."""

    def quantum(self, whole: Tensor) -> float:
        """The smallest useful drop bound, in points: the score's step for one image, or one pixel."""

    def chance(self, labels_B: Tensor, num_classes: int) -> float:
        """The score of a network that has learned nothing, in ``unit``."""

    def margins(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B,): how safely each image is right; the least safe are scored first."""

    def standard_error(self, score: float, num_images: int) -> float | None:
        """Sampling error of one measured score, in points; ``None`` if the number of images does not determine it."""


@dataclass(frozen=True)
class Tally:
    """The progress of scoring one network over the images of a split, in their fixed order."""

    counts: list[Any]
    """The score's counts for the images seen, as nested lists; empty once all are seen, as nothing is added then."""
    seen: list[Any]
    """Totals of the images seen (``Score.whole``)."""
    num_images: int
    """Images seen."""
    highest: float
    """The best score still possible; the score itself once all images are seen."""
    complete: bool
    """Whether all images are seen."""

    def decides(self, lowest: float | None) -> bool:
        """Whether more images cannot change the result: the score, or that it is below ``lowest``."""
        return self.complete or (lowest is not None and self.highest < lowest)

    def score(self, lowest: float | None) -> float | None:
        """The score; ``None`` exactly if it is below ``lowest``. Raises ValueError unless the tally decides."""
        if not self.decides(lowest):
            raise ValueError("not enough images are seen to know the score")
        return None if lowest is not None and self.highest < lowest else self.highest


@dataclass(frozen=True)
class Scored:
    """The result of scoring one candidate."""

    score: float | None
    """In the score's unit; ``None`` exactly if it is below ``lowest``, whether that was known early or at the end."""
    images_scored: int
    """Images scored this time, without those of an earlier tally."""
    seconds: float
    tally: Tally
    """Where a later scoring of the same candidate can resume."""


def score_batches(
    score: Score,
    batches: Iterable[tuple[Callable[[], Tensor], Tensor]],
    whole: Tensor,
    lowest: float | None = None,
    start: Tally | None = None,
) -> Tally:
    """A tally that decides, from (logits on demand, labels) batches of a split whose totals are ``whole``.

    Stops as soon as the remaining images cannot lift the score to ``lowest``. Exact, whatever the order of the images.
    ``start`` is the tally of the images before ``batches``; it must not decide already. Raises ValueError if there are
    no images.
    """
    tally = start
    counted = ((score.counts(logits(), labels), score.whole(labels), len(labels)) for logits, labels in batches)
    while some := list(islice(counted, BATCHES_A_WAIT if lowest is None else 1)):
        all_counts, totals, numbers = zip(*some, strict=True)
        for counts, total, number in zip(fetched(all_counts), fetched(totals), numbers, strict=True):
            tally = added(score, tally, counts, total, number, whole)
            if tally.decides(lowest):
                return tally
    if tally is None:
        raise ValueError("a split without images cannot be scored")
    return tally


def score_whole(score: Score, forward: Callable[[Tensor], Tensor], split: Split, batch_size: int) -> Tally:
    """The complete tally of ``split``; ``forward`` turns the data set's images into logits."""
    batches = ((partial(forward, images), labels) for images, labels in split.batches(batch_size))
    return score_batches(score, batches, score.whole(split.labels_B).cpu())


def advance(score: Score, tally: Tally | None, logits: Tensor, labels_B: Tensor, whole: Tensor) -> Tally:
    """``tally`` after one more batch of a split whose totals are ``whole``."""
    counts, total = score.counts(logits, labels_B).cpu(), score.whole(labels_B).cpu()
    return added(score, tally, counts, total, len(labels_B), whole)


def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors on the processor; those of one shape in one copy, because a GPU is waited for at each."""
    alike = len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1
    return list(torch.stack(list(tensors)).cpu()) if alike else [tensor.cpu() for tensor in tensors]


def added(score: Score, tally: Tally | None, counts: Tensor, seen: Tensor, number: int, whole: Tensor) -> Tally:
    """As :func:`advance`, for the counts of a batch of ``number`` images with the totals ``seen``; on the processor."""
    if tally is not None:
        counts = merged(score, [torch.tensor(tally.counts, dtype=torch.int64), counts])
        seen = seen + torch.tensor(tally.seen)
        number += tally.num_images
    complete = bool((seen == whole).all())
    left = [] if complete else counts.tolist()
    return Tally(left, seen.tolist(), number, score.highest(counts, seen, whole), complete)


def num_columns(score: Score, num_classes: int) -> int | None:
    """The columns that a score of boxes needs in a network's output; ``None`` where it does not say."""
    own: Callable[[int], int] | None = getattr(score, "num_columns", None)
    return None if own is None else own(num_classes)


def merged(score: Score, parts: Sequence[Tensor]) -> Tensor:
    """The counts of several parts of a split together: their sum, unless the score has its own ``merged``."""
    own: Callable[[Sequence[Tensor]], Tensor] | None = getattr(score, "merged", None)
    return torch.stack(list(parts)).sum(0) if own is None else own(parts)
