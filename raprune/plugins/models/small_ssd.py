"""A small single-shot detector: eight convolutions, then SSD's heads on two maps of different resolution.

Source of heads and anchors: Liu et al., *SSD: Single Shot MultiBox Detector* (2016), by torchvision. The backbone is
ours: pairs of 3x3 convolutions with batch norm, and max pooling between them.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from raprune.plugins.models.base import WidthSettings, scaled
from raprune.plugins.models.detector import Detector
from raprune.registry import MODELS

FILTERS = ((16, 16), (32, 32), (48, 48), (64, 64))
"""Filters of the convolutions of each block, at width 1; the last two blocks are read by heads."""
SCALES = [0.3, 0.42, 0.6]
"""Sides of the square anchors of each map, as shares of the image, and one more, as SSD interpolates between them."""
MIN_SIDE = 32


@MODELS.register("small_ssd", WidthSettings)
def build(settings: WidthSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A small single-shot detector (SSD): 12 convolutions, 8 of which have filters to prune."""
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSDHead

    channels, height, width = input_shape
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"small_ssd takes images of at least {MIN_SIDE}x{MIN_SIDE}; got {height}x{width}")
    backbone = _Backbone(channels, settings.width)
    anchors = DefaultBoxGenerator([[2], [2]], scales=SCALES)
    head = SSDHead(backbone.out_channels, anchors.num_anchors_per_location(), num_classes)
    return Detector(backbone, head, anchors, "ssd", input_shape)


class _Backbone(nn.Module):
    """Four blocks; returns the maps of the last two, at an eighth and a sixteenth of the image's sides."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        blocks = []
        for filters in FILTERS:
            layers: list[nn.Module] = []
            for number in filters:
                layers += [
                    nn.Conv2d(channels, scaled(number, width), 3, padding=1, bias=False),
                    nn.BatchNorm2d(scaled(number, width)),
                    nn.ReLU(inplace=True),
                ]
                channels = scaled(number, width)
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.MaxPool2d(2)
        self.out_channels = [scaled(filters[-1], width) for filters in FILTERS[2:]]

    def forward(self, images_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        """The maps by their number, as torchvision's backbones return them."""
        maps = OrderedDict()
        values = images_BCHW
        for number, block in enumerate(self.blocks):
            values = self.pool(block(values))
            if number >= 2:
                maps[str(number)] = values
        return maps
