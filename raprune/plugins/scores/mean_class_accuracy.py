"""Mean class accuracy: the share of each class's pixels that are right, averaged over the classes in the labels."""

from __future__ import annotations

import math

from torch import Tensor

from raprune.plugins.scores.per_pixel import DenseScore, num_labelled, predicted, right_by_class
from raprune.registry import SCORES


@SCORES.register("mean_class_accuracy")
class MeanClassAccuracy(DenseScore):
    """Percent of each class's pixels that are right, averaged over the classes in the labels."""

    def counts(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """(255,) int64: correct pixels of each class."""
        return right_by_class(predicted(logits_BKHW, labels_BHW), labels_BHW)

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Percent, 0 to 100."""
        num_labelled(whole)
        shares = [right / total for right, total in zip(counts.tolist(), whole.tolist(), strict=True) if total]
        return 100.0 * math.fsum(shares) / len(shares)

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every labelled pixel not yet seen were right."""
        return self.value(counts + whole - seen, whole)

    def quantum(self, whole: Tensor) -> float:
        """One pixel of the most frequent class, points."""
        num_labelled(whole)
        return 100.0 / (int(whole.count_nonzero()) * int(whole.max()))

    def chance(self, labels_BHW: Tensor, num_classes: int) -> float:
        """The score of always answering the same class, percent."""
        del num_classes
        whole = self.whole(labels_BHW)
        num_labelled(whole)
        return 100.0 / int(whole.count_nonzero())
