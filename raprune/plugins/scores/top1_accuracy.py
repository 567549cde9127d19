"""Top-1 accuracy: the share of images whose largest logit is at their label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.registry import SCORES, Settings


@SCORES.register("top1_accuracy")
class Top1Accuracy:
    """Percent of images whose most likely class is their label."""

    unit = "percent"
    labels = "image"

    def __init__(self, settings: Settings) -> None:
        del settings

    def loss(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """Cross entropy, averaged over the batch."""
        return F.cross_entropy(logits_BK, labels_B)

    def counts(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(1,) int64: correct predictions; NaN at the label counts as wrong."""
        is_number_B = ~logits_BK.gather(1, labels_B[:, None])[:, 0].isnan()  # argmax takes NaN for the largest
        return ((logits_BK.argmax(1) == labels_B) & is_number_B).sum(dtype=torch.int64)[None]

    def whole(self, labels_B: Tensor) -> Tensor:
        """(1,) int64: number of images."""
        return torch.tensor([len(labels_B)])

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Percent, 0 to 100."""
        return 100.0 * int(counts[0]) / int(whole[0])

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every image not yet seen were correct."""
        return 100.0 * (int(counts[0]) + int(whole[0]) - int(seen[0])) / int(whole[0])

    def quantum(self, whole: Tensor) -> float:
        """One image, points."""
        return 100.0 / int(whole[0])

    def chance(self, labels_B: Tensor, num_classes: int) -> float:
        """The score of always answering the most frequent class, percent."""
        return 100.0 * int(torch.bincount(labels_B, minlength=num_classes).max()) / len(labels_B)

    def margins(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B,): how far each image is from being wrong; negative where it is."""
        right = logits_BK.gather(1, labels_B[:, None])[:, 0]
        others = logits_BK.scatter(1, labels_B[:, None], float("-inf"))
        return right - others.max(1).values

    def standard_error(self, score: float, num_images: int) -> float:
        """Binomial standard error of one measured score, points."""
        share = score / 100
        return 100.0 * float((share * (1 - share) / num_images) ** 0.5)
