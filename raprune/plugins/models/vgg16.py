"""VGG-16 for small images: 13 convolutions with bias and batch norm, then Linear 512-512 and 512-classes.

Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D, with batch norm; at 32x32 and width 1 it has the
14,990,922 parameters and 313,463,808 multiply-adds of the pruning paper's CIFAR-10 network. Layer names are
torchvision's (``features.N``), so checkpoints of ``vgg16_bn`` features fit. The configuration, the features and the
settings are shared by the other networks with a VGG-16 in them.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from raprune.plugins.models.base import WidthSettings, scaled
from raprune.plugins.models.pretrained import adapt, load_pretrained, source_problem
from raprune.registry import MODELS

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of each convolution; a 2x2 max pool follows each block."""


class VggSettings(WidthSettings):
    """Settings of a network with a VGG-16 in it."""

    pretrained: str = "none"
    """Initial ImageNet weights: ``none``, ``download`` (torchvision's), or the path of torchvision's state dict."""

    def problems(self) -> list[tuple[str, str]]:
        problems = []
        if self.pretrained != "none" and self.width != 1:
            message = f"needs width 1, the width of the trained network; got width {self.width:g}"
            problems.append(("pretrained", message))
        if (problem := source_problem(self.pretrained)) is not None:
            problems.append(("pretrained", problem))
        return problems


def vgg16_features(width: float, in_channels: int, batch_norm: bool) -> nn.Sequential:
    """torchvision's ``features``: 13 convolutions and five pools, with or without a norm after each convolution."""
    layers: list[nn.Module] = []
    channels = in_channels
    for block in BLOCKS:
        for filters in block:
            num_filters = scaled(filters, width)
            layers.append(nn.Conv2d(channels, num_filters, 3, padding=1))
            layers += [nn.BatchNorm2d(num_filters)] if batch_norm else []
            layers.append(nn.ReLU(True))
            channels = num_filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def published_names(batch_norm: bool) -> dict[str, str]:
    """torchvision's name of each convolution and norm -> its published name: ``features.0`` -> ``conv1_1``."""
    names = {}
    position = 0
    for stage, block in enumerate(BLOCKS, 1):
        for number in range(1, len(block) + 1):
            names[f"features.{position}"] = f"conv{stage}_{number}"
            if batch_norm:
                names[f"features.{position + 1}"] = f"conv{stage}_{number}_bn"
            position += 3 if batch_norm else 2
        position += 1
    return names


class Vgg16(nn.Module):
    """``features`` (13 convolutions), then ``classifier`` (two linear layers)."""

    pretrained_layers: ClassVar[dict[str, str]] = {name: name for name in published_names(batch_norm=True)}
    """torchvision's name of each layer that ``vgg16_bn`` also has -> its name here."""

    def __init__(self, width: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        hidden = scaled(512, width)
        self.features = vgg16_features(width, in_channels, batch_norm=True)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(True), nn.Linear(hidden, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, 32, 32) to logits (B, num_classes)."""
        logits: Tensor = self.classifier(self.flatten(self.features(images)))
        return logits

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict saved as part of a larger module, renamed to this network's names."""
        return adapt(tensors, self.state_dict(), self.pretrained_layers)


@MODELS.register("vgg16", VggSettings)
def build(settings: VggSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """VGG-16 for 32x32 images: 13 prunable convolutions with batch norm, 15.0 M parameters for 10 classes."""
    if input_shape[1:] != (32, 32):
        raise ValueError(f"vgg16 takes 32x32 images; this data set has {input_shape[1]}x{input_shape[2]}")
    network = Vgg16(settings.width, num_classes, input_shape[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    load_pretrained(network, settings.pretrained, "vgg16_bn", network.pretrained_layers)
    return network
