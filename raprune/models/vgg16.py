"""VGG-16 for small images: 13 convolutions with bias and batch norm, then Linear 512-512 and 512-classes.

Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D, with batch norm; at 32x32 and width 1 it has the
14,990,922 parameters and 313,463,808 multiply-adds of the pruning paper's CIFAR-10 network. Layer names are
torchvision's (``features.N``), so checkpoints of ``vgg16_bn`` features fit.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from raprune.registry import MODELS, Settings

CONFIGURATION_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Filters of each convolution; 0 is a 2x2 max pool."""


class Vgg16Settings(Settings):
    width: float = Field(default=1.0, gt=0, le=4)
    """Factor on every layer's number of filters; 1 is the published network."""


class Vgg16(nn.Module):
    """``features`` (13 convolutions), then ``classifier`` (two linear layers)."""

    def __init__(self, width: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for filters in CONFIGURATION_D:
            if filters == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            num_filters = max(1, round(filters * width))
            layers += [
                nn.Conv2d(channels, num_filters, 3, padding=1),
                nn.BatchNorm2d(num_filters),
                nn.ReLU(True),
            ]
            channels = num_filters
        hidden = max(1, round(512 * width))
        self.features = nn.Sequential(*layers)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(True), nn.Linear(hidden, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, 32, 32) to logits (B, num_classes)."""
        logits: Tensor = self.classifier(self.flatten(self.features(images)))
        return logits


@MODELS.register("vgg16", Vgg16Settings)
def build(settings: Vgg16Settings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """VGG-16 for 32x32 images: 13 prunable convolutions with batch norm."""
    if input_shape[1:] != (32, 32):
        raise ValueError(f"vgg16 takes 32x32 images; this data set has {input_shape[1]}x{input_shape[2]}")
    network = Vgg16(settings.width, num_classes, input_shape[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return network
