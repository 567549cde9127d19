"""When a candidate is hopeless: the upper confidence bound of its score, from the images it has seen so far.

The bound is on the mean of the paired differences, image by image, from the state that the candidate is cut from. The
images are drawn without replacement: the margin is z standard errors, which vanish once all images are seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from raprune.plugins.scores.base import Score, fetched

MIN_SEEN = 30
"""Images below which the standard error is too uncertain to stop."""


def image_scores(score: Score, logits: Tensor, labels_B: Tensor) -> Tensor:
    """(B,) float64: the score of each image on its own; 0 where it has no label that counts."""
    images = [slice(number, number + 1) for number in range(len(labels_B))]
    counts = fetched([score.counts(logits[image], labels_B[image]) for image in images])
    wholes = fetched([score.whole(labels_B[image]) for image in images])
    scores = [score.value(of, whole) if whole.any() else 0.0 for of, whole in zip(counts, wholes, strict=True)]
    return torch.tensor(scores, dtype=torch.float64)


class Race:
    """One candidate against its parent, in the order in which images are seen."""

    def __init__(self, z: float, parent_score: float, parent_images: Tensor) -> None:
        self.z = z
        self.parent_score = parent_score
        self.parent_images = parent_images
        self._seen: list[Tensor] = []

    def bound(self, images_B: Tensor) -> float:
        """Add ``images_B``, the scores of the next images; returns the upper confidence bound of the score."""
        self._seen.append(images_B)
        candidate = torch.cat(self._seen)
        number, total = len(candidate), len(self.parent_images)
        if number < MIN_SEEN or number == total:
            return math.inf
        drops = self.parent_images[:number] - candidate
        error = float(drops.std()) * math.sqrt((1 - number / total) / number)
        return self.parent_score - float(drops.mean()) + self.z * error
