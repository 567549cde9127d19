"""What the scores of labels a pixel share: counts by class, the training loss, margins.

Shapes: B images, K classes, H x W pixels. A pixel with the label ``VOID`` counts nowhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID
from raprune.registry import Settings


class DenseScore:
    """The part of a score that all scores of labels a pixel have in common."""

    unit = "percent"
    labels = "pixel"

    def __init__(self, settings: Settings) -> None:
        del settings

    def loss(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """Cross entropy, averaged over the labelled pixels; 0 where there is none."""
        check_sizes(logits_BKHW, labels_BHW)
        # torch's own mean adds in any order on a GPU: not the same twice
        losses_BHW = F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=VOID, reduction="none")
        return losses_BHW.sum() / (labels_BHW != VOID).sum().clamp(min=1)

    def whole(self, labels_BHW: Tensor) -> Tensor:
        """(255,) int64: labelled pixels of each class."""
        return by_class(labels_BHW)

    def margins(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """(B,): how far the labelled pixels of each image are from being wrong, their mean; infinite without any."""
        check_sizes(logits_BKHW, labels_BHW)
        labelled_BHW = labels_BHW != VOID
        index_B1HW = labels_BHW.long().where(labelled_BHW, 0)[:, None]
        right_BHW = logits_BKHW.gather(1, index_B1HW)[:, 0]
        others_BHW = logits_BKHW.scatter(1, index_B1HW, float("-inf")).amax(1)
        sums_B = (right_BHW - others_BHW).where(labelled_BHW, 0).sum((1, 2))
        num_labelled_B = labelled_BHW.sum((1, 2))
        return (sums_B / num_labelled_B).where(num_labelled_B > 0, float("inf"))

    def standard_error(self, score: float, num_images: int) -> float | None:
        """Unknown: the pixels of an image are not independent."""
        del score, num_images
        return None


def predicted(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """(B, H, W) int64: the most likely class of each labelled pixel, ``VOID`` elsewhere and where NaN looks right."""
    check_sizes(logits_BKHW, labels_BHW)
    labelled_BHW = labels_BHW != VOID
    at_label_BHW = logits_BKHW.gather(1, labels_BHW.long().where(labelled_BHW, 0)[:, None])[:, 0]
    predictions_BHW = logits_BKHW.argmax(1)  # takes NaN for the largest
    is_wrong_BHW = at_label_BHW.isnan() & (predictions_BHW == labels_BHW)
    return predictions_BHW.where(labelled_BHW & ~is_wrong_BHW, VOID)


def right_by_class(predictions_BHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """(255,) int64: pixels of each class that are right."""
    return by_class(labels_BHW.where(predictions_BHW == labels_BHW, VOID))


def by_class(classes_BHW: Tensor) -> Tensor:
    """(255,) int64: pixels of each class, void ones left out; so long whatever the number of classes."""
    return torch.bincount(classes_BHW.flatten(), minlength=VOID + 1)[:VOID]


def num_labelled(whole: Tensor) -> int:
    """Labelled pixels; :class:`InputError` where there is none to score."""
    number = int(whole.sum())
    if number == 0:
        raise InputError("no pixel of the split has a label: there is nothing to score")
    return number


def check_sizes(logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
    """:class:`InputError` where logits and labels do not lie on the same pixels."""
    if logits_BKHW.dim() != 4 or logits_BKHW.shape[2:] != labels_BHW.shape[1:]:
        logits, labels = ("x".join(map(str, of.shape)) for of in (logits_BKHW, labels_BHW))
        raise InputError(
            f"the score needs logits of images x classes x height x width and labels of images x height x width; "
            f"the network returns {logits} for labels of {labels}"
        )
