"""The published networks as plain tables, written by hand, and torchvision's VGG-16 at any width."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torchvision.models.vgg import VGG, cfgs, make_layers

from raprune.registry import MODELS

VGG16 = {
    "conv1_1": (3, 64), "conv1_2": (64, 64),
    "conv2_1": (64, 128), "conv2_2": (128, 128),
    "conv3_1": (128, 256), "conv3_2": (256, 256), "conv3_3": (256, 256),
    "conv4_1": (256, 512), "conv4_2": (512, 512), "conv4_3": (512, 512),
    "conv5_1": (512, 512), "conv5_2": (512, 512), "conv5_3": (512, 512),
}  # fmt: skip
"""Layer -> channels it reads, filters; all 3x3 with bias."""

SEGNET_DECODER = {
    "conv5_3_D": (512, 512), "conv5_2_D": (512, 512), "conv5_1_D": (512, 512),
    "conv4_3_D": (512, 512), "conv4_2_D": (512, 512), "conv4_1_D": (512, 256),
    "conv3_3_D": (256, 256), "conv3_2_D": (256, 256), "conv3_1_D": (256, 128),
    "conv2_2_D": (128, 128), "conv2_1_D": (128, 64),
    "conv1_2_D": (64, 64), "conv1_1_D": (64, 11),
}  # fmt: skip
"""The same for SegNet's decoder, 11 classes."""

FCN32S = {
    **{name: (filters, channels, 3, 3) for name, (channels, filters) in VGG16.items()},
    "fc6": (4096, 512, 7, 7),
    "fc7": (4096, 4096, 1, 1),
    "score_fr": (21, 4096, 1, 1),
    "upscore": (21, 21, 64, 64),
}
"""Layer -> shape of its weight, 21 classes."""


def stage(name: str) -> int:
    """3 of ``conv3_1_D``."""
    return int(name[4])


def build(name: str, num_classes: int, input_shape: tuple[int, int, int], **settings: object) -> nn.Module:
    network: nn.Module = MODELS.build(name, settings, num_classes=num_classes, input_shape=input_shape)
    return network


def sizes_only(name: str, num_classes: int, input_shape: tuple[int, int, int], **settings: object) -> nn.Module:
    """A network without memory for its weights: enough to count and to compare shapes."""
    with torch.device("meta"):
        return build(name, num_classes, input_shape, **settings)


def torchvision_vgg16(width: float, num_classes: int, batch_norm: bool = False) -> VGG:
    """torchvision's own class with slim layers, lively norms and biases, in eval mode."""
    configuration = [c if c == "M" else max(1, round(c * width)) for c in cfgs["D"]]
    with torch.device("meta"):  # its classifier has 120 M parameters at any width
        network = VGG(make_layers([], False), num_classes)
    network.features = make_layers(configuration, batch_norm)
    sizes = [configuration[-2] * 49, round(4096 * width), round(4096 * width), num_classes]
    linear = [nn.Linear(one, other) for one, other in pairwise(sizes)]
    network.classifier = nn.Sequential(
        linear[0], nn.ReLU(), nn.Dropout(), linear[1], nn.ReLU(), nn.Dropout(), linear[2]
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network.eval()
