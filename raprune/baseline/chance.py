"""Whether a network has learned anything, and whether it numbers the classes as the labels do.

Its answers are compared with the same answers to shuffled labels. A network that always answers one class, or that
cannot tell the classes apart, is right equally often when the labels are shuffled, whatever the number and balance of
the classes. Cohen's kappa says how much better than shuffled the answers are; it is 1 where all of them are right. From
``GOOD_KAPPA`` on, nothing is shuffled, so a network without errors always passes.

Shapes: B images, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from raprune.plugins.datasets.base import VOID

GOOD_KAPPA = 0.5
MIN_KAPPA, MIN_PIXEL_KAPPA = 0.03, 0.05
"""An untrained network may reach less by accident. For labels per pixel this is the only test: pixels are not
independent, and there may be too few images to shuffle."""
NUM_SHUFFLES = 1999
"""No shuffle may be right as often as the network: a chance of 1 in 2,000."""


class Answers:
    """Labels and predictions of some images, collected batch by batch."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        """Counts of images by label and prediction; of pixels where labels are per pixel."""
        self._labels: list[Tensor] = []
        self._predictions: list[Tensor] = []
        self._per_pixel = False

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (B, K) and labels (B,), or (B, K, H, W) and (B, H, W); skips void pixels and NaN answers."""
        self._per_pixel = labels.dim() > 1
        known = (labels != VOID) & ~logits.isnan().any(1) if self._per_pixel else ~logits.isnan().any(1)
        labels, predictions = labels[known].long(), logits.argmax(1)[known]
        pairs = labels * self.num_classes + predictions
        self.confusion_KK += pairs.bincount(minlength=self.num_classes**2).view_as(self.confusion_KK)
        if not self._per_pixel:
            self._labels.append(labels)
            self._predictions.append(predictions)

    def permutation(self) -> tuple[list[tuple[int, int]], float]:
        """The best renumbering: class pairs (label, answer) that differ, and the percentage right under it.

        For labels per image only. The pairs come from one half of the images and the percentage from the other: with
        few images per class, some permutation always fits the images from which it was computed.
        """
        from scipy.optimize import linear_sum_assignment  # here: few baselines need it, and each process would wait

        labels_B, predictions_B = torch.cat(self._labels), torch.cat(self._predictions)
        order = torch.randperm(len(labels_B), generator=torch.Generator().manual_seed(0))
        fitted, held = order[::2], order[1::2]
        pairs = labels_B[fitted] * self.num_classes + predictions_B[fitted]
        confusion_KK = pairs.bincount(minlength=self.num_classes**2).view_as(self.confusion_KK)
        rows, columns = linear_sum_assignment(-confusion_KK.numpy())
        right = torch.from_numpy(columns)[labels_B[held]] == predictions_B[held]
        differ = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if r != c and confusion_KK[r, c]]
        return differ, 100.0 * float(right.double().mean()) if len(held) else 0.0

    @property
    def kappa(self) -> float:
        """Cohen's kappa: 0 for answers that do not depend on the label, 1 where all are right."""
        total = int(self.confusion_KK.sum())
        shares = self.confusion_KK.double() / max(1, total)
        expected = float((shares.sum(0) * shares.sum(1)).sum())
        return (float(shares.diagonal().sum()) - expected) / (1 - expected) if expected < 1 and total else 0.0

    @property
    def num_label_classes(self) -> int:
        """Number of classes among the labels; with a single class the answers prove nothing."""
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
