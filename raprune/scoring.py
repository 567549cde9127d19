"""The contract of a score, and scoring a network on a split with an exact early exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Score(Protocol):
    """A quality, higher is better, summed over images as integer counts.

    Logits are (B, K) for labels (B,), and (B, K, H, W) for labels a pixel (B, H, W), in which ``raprune.data.VOID``
    counts nowhere; an image-to-image network's output is (B, C, H, W), as its labels are.
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
class Scored:
    """What scoring one candidate gave."""

    score: float | None
    """In the score's unit; ``None`` exactly where it is below ``lowest``, whether seen early or at the end."""
    images_scored: int
    seconds: float


def score_batches(
    score: Score,
    batches: Iterable[tuple[Callable[[], Tensor], Tensor]],
    whole: Tensor,
    lowest: float | None = None,
) -> tuple[float | None, int]:
    """Score and images seen, from (logits on demand, labels) batches of a split whose totals are ``whole``.

    Stops as soon as the remaining images cannot lift the score to ``lowest``: then, and only then, the score is
    ``None``. Exact, whatever the order of the images.
    """
    total: Tensor | None = None
    seen = torch.zeros_like(whole)
    num_seen = 0
    for logits, labels_B in batches:
        counts = score.counts(logits(), labels_B).cpu()
        total = counts if total is None else total + counts
        seen += score.whole(labels_B).cpu()
        num_seen += len(labels_B)
        if lowest is not None and score.highest(total, seen, whole) < lowest:
            return None, num_seen
    if total is None:
        raise ValueError("a split without images cannot be scored")
    return score.value(total, whole), num_seen
