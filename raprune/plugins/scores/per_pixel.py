"""Shared by the scores of labels per pixel: counts by class, the training loss, margins.

Shapes: B images, K classes, H x W pixels. Pixels with the label ``VOID`` are ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID
from raprune.registry import Settings


class DenseScore:
    """Base class of all scores of labels per pixel."""

    unit = "percent"
    labels = "pixel"

    def __init__(self, settings: Settings) -> None:
        del settings

    def loss(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """Cross entropy, averaged over the labelled pixels; 0 if there are none."""
        check_sizes(logits_BKHW, labels_BHW)
        # torch's own mean adds in no fixed order on a GPU, so its result varies from run to run
        losses_BHW = F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=VOID, reduction="none")
        return losses_BHW.sum() / (labels_BHW != VOID).sum().clamp(min=1)

    def whole(self, labels_BHW: Tensor) -> Tensor:
        """(255,) int64: labelled pixels of each class."""
        return by_class(labels_BHW)

    def margins(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        """(B,): how far the labelled pixels of each image are from being wrong, on average; infinite without any."""
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
    """(255,) int64: correct pixels of each class."""
    return by_class(labels_BHW.where(predictions_BHW == labels_BHW, VOID))


def by_class(classes_BHW: Tensor) -> Tensor:
    """(255,) int64: pixels of each class, without void; of this length whatever the number of classes."""
    return torch.bincount(classes_BHW.flatten(), minlength=VOID + 1)[:VOID]


def num_labelled(whole: Tensor) -> int:
    """Number of labelled pixels; raises :class:`InputError` if there are none."""
    number = int(whole.sum())
    if number == 0:
        raise InputError("no pixel of the split has a label: there is nothing to score")
    return number


def check_sizes(logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
    """Raise :class:`InputError` if logits and labels do not cover the same pixels."""
    if logits_BKHW.dim() != 4 or logits_BKHW.shape[2:] != labels_BHW.shape[1:]:
        logits, labels = ("x".join(map(str, tensor.shape)) for tensor in (logits_BKHW, labels_BHW))
        raise InputError(
            f"the score needs logits of images x classes x height x width and labels of images x height x width; "
            f"the network returns {logits} for labels of {labels}"
        )
