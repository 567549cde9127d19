"""Mean average precision of a detection network: how well its boxes of each class match those in the labels.

Definition and sources: ``average_precision.py``. What a network's outputs mean, and its loss: ``detection_heads.py``.

Shapes: B images, A anchors, N rows of labels, D detections, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from raprune.errors import InputError
from raprune.plugins.datasets.base import NO_BOX
from raprune.plugins.scores.average_precision import (
    IOU_THRESHOLDS,
    MAX_CLASSES,
    SCORE_BITS,
    match,
    mean_average_precision,
    overlaps,
    pack,
    unpack,
)
from raprune.plugins.scores.detection_heads import HEADS, Limits
from raprune.registry import SCORES, Settings


class MeanAveragePrecisionSettings(Settings):
    head: Literal["ssd", "retinanet", "fcos"] = "ssd"
    """The network's family, which says what its outputs mean and how it is trained."""
    iou: float | None = Field(default=None, gt=0, lt=1)
    """The overlap (intersection over union) from which a box is found, such as 0.5 for AP50; by default the mean over
    0.50, 0.55, ..., 0.95, as COCO scores."""
    min_score: float = Field(default=0.01, ge=0, lt=1)
    """Detections with a lower score are left out."""
    nms_iou: float = Field(default=0.5, gt=0, le=1)
    """Of two boxes of one class that overlap more than this, the one with the lower score is left out."""
    candidates: int = Field(default=1000, ge=1)
    """Boxes of an image, the best scores of all classes, that are compared with one another."""
    max_detections: int = Field(default=100, ge=1)
    """Most detections of an image."""


@SCORES.register("mean_average_precision", MeanAveragePrecisionSettings)
class MeanAveragePrecision:
    """Mean average precision of boxes in percent, over classes and overlaps from 0.5 to 0.95 (COCO), or at one."""

    unit = "percent"
    labels = "boxes"

    def __init__(self, settings: MeanAveragePrecisionSettings) -> None:
        self.head = settings.head
        self._head = HEADS[settings.head]
        self._thresholds = IOU_THRESHOLDS if settings.iou is None else (settings.iou,)
        self._limits = Limits(settings.min_score, settings.candidates, settings.nms_iou, settings.max_detections)

    def num_columns(self, num_classes: int) -> int:
        """Columns of the network's output, for ``num_classes`` with the background."""
        return self._head.num_columns(num_classes)

    def loss(self, rows_BAC: Tensor, labels_BN6: Tensor) -> Tensor:
        """The training loss of the network's family, averaged over the batch as the family does."""
        return self._head.loss(rows_BAC, labels_BN6)

    def counts(self, rows_BAC: Tensor, labels_BN6: Tensor) -> Tensor:
        """(D,) int64: each detection with its score, its class, and at which overlaps it is right; in order."""
        return self.merged([torch.from_numpy(found_D) for found_D in self._found(rows_BAC, labels_BN6)])

    def merged(self, parts: Sequence[Tensor]) -> Tensor:
        """(D,) int64: all detections of several parts of a split, in order."""
        return torch.cat(list(parts)).sort(descending=True).values

    def whole(self, labels_BN6: Tensor) -> Tensor:
        """(MAX_CLASSES + 1,) int64: the number of images, then the boxes of each class without the crowds."""
        classes_BN = labels_BN6[..., 0].long()
        is_object_BN = (classes_BN != NO_BOX) & (labels_BN6[..., 5] == 0)
        if classes_BN.numel() and int(classes_BN.max()) > MAX_CLASSES:
            raise InputError(f"mean_average_precision takes at most {MAX_CLASSES} classes; got {int(classes_BN.max())}")
        whole_K = torch.bincount(classes_BN[is_object_BN], minlength=MAX_CLASSES + 1)
        whole_K[0] = len(labels_BN6)
        return whole_K

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Percent, 0 to 100."""
        return self.highest(counts, whole, whole)

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every box of the images not yet seen were found ahead of all others, and nothing wrong."""
        num_boxes_K, sure_K = whole.numpy().copy(), (whole - seen).numpy()
        num_boxes_K[0] = 0  # the number of images
        if not num_boxes_K.any():
            raise InputError("no image of the split has a box: there is nothing to score")
        return 100.0 * mean_average_precision(counts.numpy(), num_boxes_K, sure_K, len(self._thresholds))

    def quantum(self, whole: Tensor) -> float:
        """One box of the most frequent class at one overlap, points."""
        num_boxes_K = whole[1:]
        return 100.0 / (max(1, int(num_boxes_K.count_nonzero()) * int(num_boxes_K.max())) * len(self._thresholds))

    def chance(self, labels_BN6: Tensor, num_classes: int) -> float:
        """0, the score of finding nothing."""
        del labels_BN6, num_classes
        return 0.0

    def margins(self, rows_BAC: Tensor, labels_BN6: Tensor) -> Tensor:
        """(B,): the mean score at which an image's boxes are found, less the best score of what is wrong in it."""
        margins = []
        for found_D, labels_N6 in zip(self._found(rows_BAC, labels_BN6), labels_BN6, strict=True):
            scores_D, _, hits_DT, ignored_DT = unpack(found_D, len(self._thresholds))
            is_hit_D, is_wrong_D = hits_DT[:, 0], ~hits_DT[:, 0] & ~ignored_DT[:, 0]
            num_boxes = int(((labels_N6[:, 0] != NO_BOX) & (labels_N6[:, 5] == 0)).sum())
            found = scores_D[is_hit_D].sum() / max(1, num_boxes)
            margins.append((found - scores_D[is_wrong_D].max(initial=0)) / 2**SCORE_BITS)
        return torch.tensor(margins, dtype=torch.float64)

    def standard_error(self, score: float, num_images: int) -> float | None:
        """Unknown: it is no mean over images."""
        del score, num_images
        return None

    def _found(self, rows_BAC: Tensor, labels_BN6: Tensor) -> list[np.ndarray]:
        """The packed detections of each image."""
        return [self._of_image(rows_AC, labels_N6) for rows_AC, labels_N6 in zip(rows_BAC, labels_BN6, strict=True)]

    def detections(self, rows_AC: Tensor, labels_N6: Tensor) -> tuple[np.ndarray, ...]:
        """What is found in one image, the best score first.

        Boxes (D, 4), scores, classes, and, at the lowest overlap, whether they are right, and whether ignored.
        """
        boxes_D4, scores_D, classes_D, hits_DT, ignored_DT = self._matched(rows_AC, labels_N6)
        return boxes_D4, scores_D, classes_D, hits_DT[:, 0], ignored_DT[:, 0]

    def _of_image(self, rows_AC: Tensor, labels_N6: Tensor) -> np.ndarray:
        _, *found = self._matched(rows_AC, labels_N6)
        return pack(*found)

    def _matched(self, rows_AC: Tensor, labels_N6: Tensor) -> tuple[np.ndarray, ...]:
        found = self._head.detect(rows_AC.detach(), self._limits)
        boxes_D4, scores_D, classes_D = (part.cpu().numpy() for part in found)
        boxes_G6 = labels_N6[labels_N6[:, 0] != NO_BOX].cpu().numpy()
        is_crowd_G = boxes_G6[:, 5] == 1
        iou_DG = overlaps(boxes_D4, boxes_G6[:, 1:5], is_crowd_G)
        iou_DG[classes_D[:, None] != boxes_G6[:, 0]] = -1
        return boxes_D4, scores_D, classes_D, *match(iou_DG, is_crowd_G, self._thresholds)
