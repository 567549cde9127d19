"""Global accuracy: the share of labelled pixels whose largest logit is at their label."""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.datasets.base import VOID
from raprune.plugins.scores.per_pixel import DenseScore, num_labelled, predicted
from raprune.registry import SCORES


@SCORES.register("global_accuracy")
class GlobalAccuracy(DenseScore):
    """Percent of labelled pixels whose most likely class is their label."""

    def counts(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """(1,) int64: correct pixels."""
        right_BHW = (predicted(logits_BKHW, labels_BHW) == labels_BHW) & (labels_BHW != VOID)
        return right_BHW.sum()[None]

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Percent, 0 to 100."""
        return 100.0 * int(counts[0]) / num_labelled(whole)

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every labelled pixel not yet seen were right."""
        return self.value(counts + whole.sum() - seen.sum(), whole)

    def quantum(self, whole: Tensor) -> float:
        """One pixel, points."""
        return 100.0 / num_labelled(whole)

    def chance(self, labels_BHW: Tensor, num_classes: int) -> float:
        """The score of always answering the most frequent class, percent."""
        del num_classes
        whole = self.whole(labels_BHW)
        return 100.0 * int(whole.max()) / num_labelled(whole)
