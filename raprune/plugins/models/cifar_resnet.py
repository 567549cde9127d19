"""ResNets for CIFAR: a 3x3 stem, three stages of 16, 32 and 64 filters, shortcuts without parameters.

Source: He, Zhang, Ren and Sun, arXiv 1512.03385, section 4.2, option A: 6n+2 layers; where the size halves, the
shortcut takes every second row and column and adds channels of zeros, half of them on each side. ResNet-20 has 269,722
parameters and 40,551,040 multiply-adds at 32x32 with 10 classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from raprune.plugins.models.base import WidthSettings, scaled
from raprune.registry import MODELS


class CifarResNetSettings(WidthSettings):
    depth: Literal[20, 32, 44, 56, 110] = 20
    """Number of convolutions and linear layers, 6n + 2 for n blocks per stage."""


class Shortcut(nn.Module):
    """Takes every second row and column and adds channels of zeros before and after the others."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        added = channels - in_channels
        self.before = added // 2
        self.after = added - self.before

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, ceil(H/2), ceil(W/2))."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    """Two 3x3 convolutions with norms; the block's input is added before the last ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = Shortcut(in_channels, channels) if stride != 1 else nn.Identity()
        self.relu2 = nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, ceil(H/stride), ceil(W/stride))."""
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(branch + self.shortcut(x))
        return out


class CifarResNet(nn.Module):
    """Stem, three stages, mean over positions, one linear layer."""

    def __init__(self, depth: int, width: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        num_blocks = (depth - 2) // 6
        first, second, third = (scaled(filters, width) for filters in (16, 32, 64))
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(True)
        self.layer1 = _stage(first, first, 1, num_blocks)
        self.layer2 = _stage(first, second, 2, num_blocks)
        self.layer3 = _stage(second, third, 2, num_blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(third, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        stem: Tensor = self.relu(self.bn1(self.conv1(images)))
        logits: Tensor = self.linear(self.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(stem))))))
        return logits


def _stage(in_channels: int, channels: int, stride: int, num_blocks: int) -> nn.Sequential:
    first = Block(in_channels, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(num_blocks - 1)))


@MODELS.register("cifar_resnet", CifarResNetSettings)
def build(settings: CifarResNetSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """ResNet-20 to ResNet-110 of CIFAR: parameter-free shortcuts, 0.27 M to 1.7 M parameters for 10 classes."""
    network = CifarResNet(settings.depth, settings.width, num_classes, input_shape[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
