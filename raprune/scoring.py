"""The contract of a score, and scoring a network on a split with an exact early exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Score(Protocol):
    """A quality in percent, higher is better, summed over images as integer counts."""

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """The training loss that belongs to it: a scalar, averaged over the batch."""

    def counts(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """int64 counts of one batch; the counts of a split are their sum."""

    def value(self, counts: Tensor, num_images: int) -> float:
        """The score of a whole split, percent."""

    def highest(self, counts: Tensor, num_seen: int, num_images: int) -> float:
        """The best score still possible after ``num_seen`` images; equal to ``value`` at the end."""

    def chance(self, labels_B: Tensor, num_classes: int) -> float:
        """The score of a network that has learned nothing, percent."""

    def margins(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B,): how safe each image is; the least safe are scored first."""

    def standard_error(self, score: float, num_images: int) -> float:
        """Sampling error of one measured score, points."""


@dataclass(frozen=True)
class Scored:
    """What scoring one candidate gave."""

    score: float | None
    """Percent; ``None`` exactly where it is below ``lowest``, whether seen early or at the end."""
    images_scored: int
    seconds: float


def score_batches(
    score: Score,
    batches: Iterable[tuple[Callable[[], Tensor], Tensor]],
    num_images: int,
    lowest: float | None = None,
) -> tuple[float | None, int]:
    """Score and images seen, from (logits on demand, labels) batches.

    Stops as soon as the remaining images cannot lift the score to ``lowest``: then, and only then, the score is
    ``None``. Exact, whatever the order of the images.
    """
    total: Tensor | None = None
    seen = 0
    for logits, labels_B in batches:
        counts = score.counts(logits(), labels_B).cpu()
        total = counts if total is None else total + counts
        seen += len(labels_B)
        if lowest is not None and score.highest(total, seen, num_images) < lowest:
            return None, seen
    if total is None:
        raise ValueError("a split without images cannot be scored")
    return score.value(total, num_images), seen
