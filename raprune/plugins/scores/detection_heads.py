"""What the outputs of a detection network mean: its families, how each is trained, and what each finds in an image.

A network returns (B, A, columns), a row for each of its A anchors: four numbers that move and stretch the anchor, the
anchor itself (left, top, right, bottom, as shares of the image), one logit for each of the K classes of the data set
with the background as class 0, and for ``fcos`` the logit of its centre-ness. All that follows from a network's rows is
computed here, so the network itself is plain: images in, one tensor out.

Losses, matching and box coding are torchvision's own (``torchvision.models.detection``). Departures: FCOS measures in
thousandths of the image instead of pixels; a crowd is not learned from; and the best ``candidates`` of all classes and
levels go to non-maximum suppression, where SSD takes as many of each class and RetinaNet of each level.

Shapes: B images, A anchors, K classes, N rows of labels, G boxes of an image, D detections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from raprune.errors import InputError
from raprune.plugins.datasets.base import NO_BOX

FCOS_SCALE = 1000.0
"""torchvision's FCOS subtracts a box's area from 1e8 in single precision, so areas must be large."""


@dataclass(frozen=True)
class Limits:
    """Which of a network's rows become detections."""

    min_score: float
    candidates: int
    nms_iou: float
    max_detections: int


class Head(ABC):
    """A family of detection networks."""

    num_more = 0
    """Columns after the logits."""

    def num_columns(self, num_classes: int) -> int:
        """Columns of a row, for ``num_classes`` with the background."""
        return 8 + num_classes + self.num_more

    def loss(self, rows_BAC: Tensor, labels_BN6: Tensor) -> Tensor:
        """The family's own training loss, a scalar: classification and boxes together."""
        if rows_BAC.dim() != 3 or rows_BAC.shape[2] < 9 + self.num_more:
            shape = "x".join(map(str, rows_BAC.shape))
            raise InputError(f"the score needs outputs of images x anchors x columns; the network returns {shape}")
        targets = [_target(labels_N6) for labels_N6 in labels_BN6]
        parts: dict[str, Tensor] = self._losses(rows_BAC, targets)
        return torch.stack(list(parts.values())).sum()

    def detect(self, rows_AC: Tensor, limits: Limits) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (D, 4) as shares of the image, scores (D,) and classes (D,) of one image, the best score first."""
        from torchvision.ops import nms

        scores_AK = self._scores(rows_AC)[:, 1:]
        scores_D = scores_AK.flatten()
        kept_D = (scores_D > limits.min_score).nonzero()[:, 0]
        scores_D, best_D = scores_D[kept_D].topk(min(limits.candidates, len(kept_D)))
        kept_D = kept_D[best_D]
        anchors_D, classes_D = kept_D // scores_AK.shape[1], kept_D % scores_AK.shape[1] + 1
        boxes_D4 = self._boxes(rows_AC[anchors_D]).double().clamp(0, 1)
        apart_D4 = boxes_D4.nan_to_num(0.0) + 2.0 * classes_D[:, None]  # boxes of other classes do not overlap
        left_D = nms(apart_D4, scores_D.double(), limits.nms_iou)[: limits.max_detections]
        return boxes_D4[left_D], scores_D[left_D], classes_D[left_D]

    @abstractmethod
    def _losses(self, rows_BAC: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]: ...

    @abstractmethod
    def _scores(self, rows_AC: Tensor) -> Tensor:
        """(A, K): the score of each class at each anchor; the background's is not used."""

    @abstractmethod
    def _boxes(self, rows_DC: Tensor) -> Tensor:
        """(D, 4): the boxes that rows tell, which may reach out of the image."""


class Ssd(Head):
    """SSD and SSDlite: one class per anchor by softmax, with the background; hard negatives are mined."""

    weights = (10.0, 10.0, 5.0, 5.0)

    def _losses(self, rows_BAC: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        from torchvision.models.detection._utils import SSDMatcher
        from torchvision.models.detection.ssd import SSD

        anchors, outputs = _parts(rows_BAC, self.num_more)
        matched = [_matched(SSDMatcher(0.5), t["boxes"], a) for t, a in zip(targets, anchors, strict=True)]
        like_ssd = SimpleNamespace(box_coder=self._coder(), neg_to_pos_ratio=3.0)
        losses: dict[str, Tensor] = SSD.compute_loss(like_ssd, targets, outputs, anchors, matched)
        return losses

    def _scores(self, rows_AC: Tensor) -> Tensor:
        return rows_AC[:, 8:].softmax(1)

    def _boxes(self, rows_DC: Tensor) -> Tensor:
        boxes_D4: Tensor = self._coder().decode_single(rows_DC[:, :4], rows_DC[:, 4:8])
        return boxes_D4

    def _coder(self) -> Any:
        from torchvision.models.detection._utils import BoxCoder

        return BoxCoder(weights=self.weights)


class Retinanet(Ssd):
    """RetinaNet: each class by itself, with the focal loss."""

    weights = (1.0, 1.0, 1.0, 1.0)

    def _losses(self, rows_BAC: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        from torchvision.models.detection._utils import Matcher
        from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead

        anchors, outputs = _parts(rows_BAC, self.num_more)
        matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        matched = [_matched(matcher, t["boxes"], a) for t, a in zip(targets, anchors, strict=True)]
        like_heads = SimpleNamespace(
            BETWEEN_THRESHOLDS=Matcher.BETWEEN_THRESHOLDS, box_coder=self._coder(), _loss_type="l1"
        )
        return {
            "classification": RetinaNetClassificationHead.compute_loss(like_heads, targets, outputs, matched),
            "bbox_regression": RetinaNetRegressionHead.compute_loss(like_heads, targets, outputs, anchors, matched),
        }

    def _scores(self, rows_AC: Tensor) -> Tensor:
        return rows_AC[:, 8:].sigmoid()


class Fcos(Head):
    """FCOS: distances from a point to the four edges, and how central the point is, which the score includes."""

    num_more = 1

    def _losses(self, rows_BAC: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        from torchvision.models.detection.fcos import FCOS, FCOSHead

        anchors, outputs = _parts(rows_BAC, self.num_more)
        outputs["bbox_ctrness"] = rows_BAC[..., -1:]
        scaled = [{**target, "boxes": target["boxes"] * FCOS_SCALE} for target in targets]

        def compute_loss(*arguments: Any) -> dict[str, Tensor]:
            losses: dict[str, Tensor] = FCOSHead.compute_loss(SimpleNamespace(box_coder=self._coder()), *arguments)
            return losses

        like_fcos = SimpleNamespace(center_sampling_radius=1.5, head=SimpleNamespace(compute_loss=compute_loss))
        _, num_each = torch.unique((anchors[0][:, 2] - anchors[0][:, 0]).round(decimals=6), return_counts=True)
        large = [anchors_A4 * FCOS_SCALE for anchors_A4 in anchors]
        losses: dict[str, Tensor] = FCOS.compute_loss(like_fcos, scaled, outputs, large, num_each.tolist())
        return losses

    def _scores(self, rows_AC: Tensor) -> Tensor:
        return (rows_AC[:, 8:-1].sigmoid() * rows_AC[:, -1:].sigmoid()).sqrt()

    def _boxes(self, rows_DC: Tensor) -> Tensor:
        boxes_D4: Tensor = self._coder().decode(rows_DC[:, :4], rows_DC[:, 4:8])
        return boxes_D4

    def _coder(self) -> Any:
        from torchvision.models.detection._utils import BoxLinearCoder

        return BoxLinearCoder(normalize_by_size=True)


HEADS: dict[str, Head] = {"ssd": Ssd(), "retinanet": Retinanet(), "fcos": Fcos()}


def _target(labels_N6: Tensor) -> dict[str, Tensor]:
    """The boxes to learn of one image, in torchvision's form."""
    learned_G6 = labels_N6[(labels_N6[:, 0] != NO_BOX) & (labels_N6[:, 5] == 0)]
    return {"boxes": learned_G6[:, 1:5], "labels": learned_G6[:, 0].long()}


def _parts(rows_BAC: Tensor, num_more: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The anchors of each image, and the outputs by torchvision's names."""
    last = rows_BAC.shape[2] - num_more
    outputs = {"bbox_regression": rows_BAC[..., :4], "cls_logits": rows_BAC[..., 8:last].contiguous()}
    return list(rows_BAC[..., 4:8].detach()), outputs


def _matched(matcher: Any, boxes_G4: Tensor, anchors_A4: Tensor) -> Tensor:
    """(A,): the box that each anchor learns; negative where it learns none."""
    from torchvision.ops import box_iou

    if not len(boxes_G4):
        return torch.full((len(anchors_A4),), -1, dtype=torch.int64, device=anchors_A4.device)
    matched_A: Tensor = matcher(box_iou(boxes_G4, anchors_A4.to(boxes_G4.dtype)))
    return matched_A
