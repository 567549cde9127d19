"""Mean intersection over union: of each class's pixels in the labels and in the predictions, averaged over classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from raprune.plugins.scores.per_pixel import DenseScore, by_class, num_labelled, predicted, right_by_class
from raprune.registry import SCORES


@SCORES.register("mean_iou")
class MeanIou(DenseScore):
    """Intersection over union in percent, averaged over the classes in the labels or the predictions."""

    def counts(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """(2, 255) int64: correct pixels of each class, and pixels predicted as it."""
        predictions_BHW = predicted(logits_BKHW, labels_BHW)
        return torch.stack([right_by_class(predictions_BHW, labels_BHW), by_class(predictions_BHW)])

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Percent, 0 to 100."""
        num_labelled(whole)
        intersections, predictions = counts
        unions = whole + predictions - intersections
        shares = [part / union for part, union in zip(intersections.tolist(), unions.tolist(), strict=True) if union]
        return 100.0 * math.fsum(shares) / len(shares)

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every labelled pixel not yet seen were right: larger intersections, the same unions."""
        return self.value(counts + (whole - seen), whole)

    def quantum(self, whole: Tensor) -> float:
        """One pixel in a union of all pixels, points."""
        return 100.0 / (int(whole.count_nonzero()) * num_labelled(whole))

    def chance(self, labels_BHW: Tensor, num_classes: int) -> float:
        """The score of always answering the most frequent class, percent."""
        del num_classes
        whole = self.whole(labels_BHW)
        return 100.0 * int(whole.max()) / num_labelled(whole) / int(whole.count_nonzero())
