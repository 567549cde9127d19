"""Whether a network has learned anything, and whether it numbers the classes as the labels do.

Its answers are held against the same answers given to other images. A network that always gives one class, or one
that sees nothing of what tells the classes apart, is right as often when the labels are shuffled. That holds for any
balance of the classes and any number of them. Cohen's kappa says how much better than shuffled the answers are, 1 where
all of them are right; from ``GOOD_KAPPA`` on nothing is shuffled, so that a network without errors always passes.

Shapes: B images, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from raprune.plugins.datasets.base import VOID

GOOD_KAPPA = 0.5
MIN_KAPPA, MIN_PIXEL_KAPPA = 0.03, 0.05
"""Less is what an untrained network has by accident. Of labels a pixel it is all that is asked: pixels are not
independent, and there may be too few images to shuffle."""
NUM_SHUFFLES = 1999
"""None of them may be right as often as the network: a chance of 1 in 2,000."""


class Answers:
    """Labels and predictions of some images, collected batch by batch."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        """Labels by predictions; of labels a pixel, pixels."""
        self._labels: list[Tensor] = []
        self._predictions: list[Tensor] = []
        self._per_pixel = False

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Logits (B, K) and labels (B,), or (B, K, H, W) and (B, H, W); void pixels and NaN answers count nowhere."""
        self._per_pixel = labels.dim() > 1
        known = (labels != VOID) & ~logits.isnan().any(1) if self._per_pixel else ~logits.isnan().any(1)
        labels, predictions = labels[known].long(), logits.argmax(1)[known]
        pairs = labels * self.num_classes + predictions
        self.confusion_KK += pairs.bincount(minlength=self.num_classes**2).view_as(self.confusion_KK)
        if not self._per_pixel:
            self._labels.append(labels)
            self._predictions.append(predictions)

    def permutation(self) -> tuple[list[tuple[int, int]], float]:
        """Class pairs (label, the answer that stands for it) that differ, and percent right when answers are so read.

        Of labels an image. The pairs are found on one half of the images and the percentage on the other: with few
        images a class there is always a permutation that makes all of those right from which it was made.
        """
        labels_B, predictions_B = torch.cat(self._labels), torch.cat(self._predictions)
        order = torch.randperm(len(labels_B), generator=torch.Generator().manual_seed(0))
        found, held = order[::2], order[1::2]
        pairs = labels_B[found] * self.num_classes + predictions_B[found]
        confusion_KK = pairs.bincount(minlength=self.num_classes**2).view_as(self.confusion_KK)
        rows, columns = linear_sum_assignment(-confusion_KK.numpy())
        right = torch.from_numpy(columns)[labels_B[held]] == predictions_B[held]
        differ = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if r != c and confusion_KK[r, c]]
        return differ, 100.0 * float(right.double().mean()) if len(held) else 0.0

    @property
    def kappa(self) -> float:
        """Cohen's: 0 for answers that do not depend on the label, 1 for those that are all right."""
        total = int(self.confusion_KK.sum())
        shares = self.confusion_KK.double() / max(1, total)
        expected = float((shares.sum(0) * shares.sum(1)).sum())
        return (float(shares.diagonal().sum()) - expected) / (1 - expected) if expected < 1 and total else 0.0

    @property
    def num_label_classes(self) -> int:
        """Classes that the labels have; answers to a single one tell nothing."""
        return int((self.confusion_KK.sum(1) > 0).sum())

    def tell(self) -> bool:
        """Whether the answers follow the labels."""
        if self.kappa >= GOOD_KAPPA:
            return True
        if self._per_pixel:
            return self.kappa >= MIN_PIXEL_KAPPA
        return self.kappa >= MIN_KAPPA and not _as_good_by_shuffling(self._labels, self._predictions)


def _as_good_by_shuffling(labels: Iterable[Tensor], predictions: Iterable[Tensor]) -> bool:
    labels_B, predictions_B = torch.cat([*labels]), torch.cat([*predictions])
    right = int((labels_B == predictions_B).sum())
    generator = torch.Generator().manual_seed(0)
    for _ in range(NUM_SHUFFLES):
        order = torch.randperm(len(labels_B), generator=generator)
        if int((labels_B[order] == predictions_B).sum()) >= right:
            return True
    return False
