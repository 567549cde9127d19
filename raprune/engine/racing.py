"""When a candidate is hopeless: the upper confidence bound of its score, from the images it was seen on.

The bound is that of a mean of paired differences, image by image, to the state that the candidate is cut from, drawn
without replacement: z standard errors, which vanish when all images are seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from raprune.plugins.scores.base import Score

MIN_SEEN = 30
"""Images before which a standard error says too little to stop."""


def image_scores(score: Score, logits: Tensor, labels_B: Tensor) -> Tensor:
    """(B,) float64: the score of each image on its own; 0 where it has no label that counts."""
    found = []
    for number in range(len(labels_B)):
        of_image, label = logits[number : number + 1], labels_B[number : number + 1]
        whole = score.whole(label).cpu()
        found.append(score.value(score.counts(of_image, label).cpu(), whole) if whole.any() else 0.0)
    return torch.tensor(found, dtype=torch.float64)


class Race:
    """One candidate against its parent, in the order in which images are seen."""

    def __init__(self, z: float, parent_score: float, parent_images: Tensor) -> None:
        self.z = z
        self.parent_score = parent_score
        self.parent_images = parent_images
        self._seen: list[Tensor] = []

    def bound(self, images_B: Tensor) -> float:
        """The upper confidence bound of the candidate's score after ``images_B``, its scores of the next images."""
        self._seen.append(images_B)
        candidate = torch.cat(self._seen)
        number, total = len(candidate), len(self.parent_images)
        if number < MIN_SEEN or number == total:
            return math.inf
        drops = self.parent_images[:number] - candidate
        error = float(drops.std()) * math.sqrt((1 - number / total) / number)
        return self.parent_score - float(drops.mean()) + self.z * error
