"""The contract of a score, and scoring a network on a split with an exact early exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from raprune.plugins.datasets.base import Split


class Score(Protocol):
    """A quality, higher is better, summed over images as integer counts.

    Logits are (B, K) for labels (B,), and (B, K, H, W) for labels a pixel (B, H, W), in which ``VOID`` (255) counts
    nowhere; an image-to-image network's output is (B, C, H, W), as its labels are.
    """

    unit: str
    """``percent``, or ``dB``; drops and bounds are in points of it."""
    labels: str
    """What it takes: ``image`` (a class an image), ``pixel`` (a class a pixel), or ``target`` (an image)."""

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """The training loss that belongs to it: a scalar, averaged over the batch."""

    def counts(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """int64 counts of one batch; the counts of a split are their sum."""

    def whole(self, labels_B: Tensor) -> Tensor:
        """int64 totals of some images by their labels alone, summed like ``counts``: what there is to get right."""

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """The score of a split with the totals ``whole``, in ``unit``."""

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The best score still possible when ``seen`` of ``whole`` has been counted; equal to ``value`` at the end."""

    def quantum(self, whole: Tensor) -> float:
        """The smallest step of the score that a drop bound must be worth, points: one image, or one pixel."""

    def chance(self, labels_B: Tensor, num_classes: int) -> float:
        """The score of a network that has learned nothing, in ``unit``."""

    def margins(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B,): how safe each image is; the least safe are scored first."""

    def standard_error(self, score: float, num_images: int) -> float | None:
        """Sampling error of one measured score, points; ``None`` where the images' number does not tell."""


@dataclass(frozen=True)
class Tally:
    """How far the scoring of one network has come, over the images of a split in their fixed order."""

    counts: list[Any]
    """The score's counts of the images seen, as nested lists."""
    seen: list[Any]
    """Their totals (``Score.whole``)."""
    num_images: int
    """Images seen."""
    highest: float
    """The best score still possible; the score itself once all images are seen."""
    complete: bool
    """All images are seen."""

    def decides(self, lowest: float | None) -> bool:
        """Whether more images cannot change what is known: the score, or that it is below ``lowest``."""
        return self.complete or (lowest is not None and self.highest < lowest)

    def score(self, lowest: float | None) -> float | None:
        """The score; ``None`` exactly where it is below ``lowest``. Only of a tally that decides."""
        if not self.decides(lowest):
            raise ValueError("not enough images are seen to know the score")
        return None if lowest is not None and self.highest < lowest else self.highest


@dataclass(frozen=True)
class Scored:
    """What scoring one candidate gave."""

    score: float | None
    """In the score's unit; ``None`` exactly where it is below ``lowest``, whether seen early or at the end."""
    images_scored: int
    """Images seen now; those of an earlier tally not counted."""
    seconds: float
    tally: Tally
    """Where a later scoring of the same candidate can go on from."""


def score_batches(
    score: Score,
    batches: Iterable[tuple[Callable[[], Tensor], Tensor]],
    whole: Tensor,
    lowest: float | None = None,
    start: Tally | None = None,
) -> Tally:
    """A tally that decides, from (logits on demand, labels) batches of a split whose totals are ``whole``.

    Stops as soon as the remaining images cannot lift the score to ``lowest``. Exact, whatever the order of the images.
    ``start`` is the tally of the images before ``batches``, which must not decide already.
    """
    tally = start
    for logits, labels_B in batches:
        tally = advance(score, tally, logits(), labels_B, whole)
        if tally.decides(lowest):
            break
    if tally is None:
        raise ValueError("a split without images cannot be scored")
    return tally


def score_whole(score: Score, forward: Callable[[Tensor], Tensor], split: Split, batch_size: int) -> Tally:
    """The complete tally of ``split``; ``forward`` turns images as the data set holds them into logits."""
    batches = ((partial(forward, images), labels) for images, labels in split.batches(batch_size))
    return score_batches(score, batches, score.whole(split.labels_B).cpu())


def advance(score: Score, tally: Tally | None, logits: Tensor, labels_B: Tensor, whole: Tensor) -> Tally:
    """``tally`` after one more batch of a split whose totals are ``whole``."""
    counts, seen = score.counts(logits, labels_B).cpu(), score.whole(labels_B).cpu()
    number = len(labels_B)
    if tally is not None:
        counts, seen = counts + torch.tensor(tally.counts), seen + torch.tensor(tally.seen)
        number += tally.num_images
    complete = bool((seen == whole).all())
    return Tally(counts.tolist(), seen.tolist(), number, score.highest(counts, seen, whole), complete)
