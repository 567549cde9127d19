"""ResNet-18 for small images: torchvision's network with its 7x7 stem of stride 2 and without its max pool.

Source: He, Zhang, Ren and Sun, arXiv 1512.03385, as the pruning paper uses it on CIFAR-10: 20 convolutions (stem, 16 in
eight blocks, three 1x1 shortcuts), 11,181,642 parameters and 140,825,600 multiply-adds at 32x32 with 10 classes. Blocks
and names are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from raprune.plugins.models.base import WidthSettings, scaled
from raprune.registry import MODELS


class ResNet18(nn.Module):
    """Stem, four stages of two blocks, mean over positions, one linear layer."""

    def __init__(self, width: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(filters, width) for filters in (64, 128, 256, 512))
        self.conv1 = nn.Conv2d(in_channels, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(True)
        self.layer1 = nn.Sequential(_block(first, first), _block(first, first))
        self.layer2 = _stage(first, second)
        self.layer3 = _stage(second, third)
        self.layer4 = _stage(third, fourth)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(fourth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        stem: Tensor = self.relu(self.bn1(self.conv1(images)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(stem))))
        logits: Tensor = self.fc(self.flatten(self.avgpool(features)))
        return logits


def _block(in_channels: int, channels: int, stride: int = 1, shortcut: nn.Module | None = None) -> nn.Module:
    """torchvision's block of two 3x3 convolutions."""
    from torchvision.models.resnet import BasicBlock  # a slow import, which listing the networks should not wait for

    block: nn.Module = BasicBlock(in_channels, channels, stride, shortcut)
    return block


def _stage(in_channels: int, channels: int) -> nn.Sequential:
    """Two blocks, the first of stride 2 with a 1x1 convolution on its shortcut."""
    shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels))
    return nn.Sequential(_block(in_channels, channels, 2, shortcut), _block(channels, channels))


@MODELS.register("resnet18", WidthSettings)
def build(settings: WidthSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """ResNet-18 with a 7x7 stem and no max pool: 20 convolutions, 11.2 M parameters for 10 classes."""
    network = ResNet18(settings.width, num_classes, input_shape[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
