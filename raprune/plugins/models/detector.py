"""A detection network of torchvision's parts as a plain network: images in, one row for each anchor out.

torchvision's networks return lists of boxes, whose number depends on the image. Everything up to the last convolutions
of the heads is an ordinary network. What follows (decoding, non-maximum suppression, matching, losses) has no weights
and belongs to the score: ``raprune/plugins/scores/detection_heads.py`` says what the columns mean. The anchors follow
from the size of the images alone, so they are a constant and part of the output.

Shapes: B images, A anchors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Detector(nn.Module):
    """``backbone`` and ``head`` of a detection network, with the names that they have in torchvision."""

    def __init__(
        self, backbone: nn.Module, head: nn.Module, anchors: nn.Module, family: str, input_shape: tuple[int, int, int]
    ) -> None:
        """``anchors`` is torchvision's generator of anchors for images of ``input_shape`` (C, H, W)."""
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.detection_head = family
        """The family for ``mean_average_precision.head``."""
        self.register_buffer("anchors", _anchors(backbone, anchors, input_shape))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(B, A, columns)."""
        outputs: dict[str, Tensor] = self.head(list(self.backbone(images_BCHW).values()))
        anchors_BA4 = self.get_buffer("anchors").expand(images_BCHW.shape[0], -1, -1)
        rows = [outputs["bbox_regression"], anchors_BA4, outputs["cls_logits"]]
        if "bbox_ctrness" in outputs:
            rows.append(outputs["bbox_ctrness"])
        return torch.cat(rows, 2)

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of torchvision's network has no anchors: they follow from the size of the images."""
        return {"anchors": self.get_buffer("anchors"), **tensors}


def _anchors(backbone: nn.Module, generator: nn.Module, input_shape: tuple[int, int, int]) -> Tensor:
    """(A, 4): left, top, right, bottom of each anchor, as shares of the image."""
    from torchvision.models.detection.image_list import ImageList

    channels, height, width = input_shape
    was_training = backbone.training
    with torch.no_grad():
        images_1CHW = torch.zeros(1, channels, height, width)
        maps: Any = backbone.eval()(images_1CHW)
        anchors_A4: Tensor = generator(ImageList(images_1CHW, [(height, width)]), list(maps.values()))[0]
    backbone.train(was_training)
    return anchors_A4 / torch.tensor([width, height, width, height])
