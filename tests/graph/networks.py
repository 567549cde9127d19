"""The networks of the surgery gauntlet: those of the paper, torchvision's, one of timm's, and a CIFAR ResNet-20.

Small where a width allows it; the structure is the full one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from raprune.registry import MODELS
from tests.kinds import Branches, Upsampling


@dataclass(frozen=True)
class Entry:
    """A network, and what must be found in it."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    num_convs: int
    """Convolutions and transposed convolutions that do not give the output; all of them can be pruned."""
    num_groups: dict[str, int]
    """residual -> groups."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of tracing."""


def ours(name: str, shape: tuple[int, int, int], num_classes: int, **settings: Any) -> Callable[[], nn.Module]:
    """One of raprune's own models."""

    def make() -> nn.Module:
        network: nn.Module = MODELS.build(name, settings, num_classes=num_classes, input_shape=shape)
        return network

    return make


def of_torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    """One of torchvision's models, untrained."""

    def make() -> nn.Module:
        from torchvision.models import get_model

        network: nn.Module = get_model(name, weights=None, **options)
        return network

    return make


def small_torchvision_vgg() -> nn.Module:
    """torchvision's VGG-11 with norms; in its classifier 64 features instead of 4096."""
    network = of_torchvision("vgg11_bn", num_classes=10)()
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    network.classifier = nn.Sequential(nn.Linear(2048, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))
    return network


def of_timm(name: str) -> Callable[[], nn.Module]:
    """One of timm's models, untrained."""

    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=10)
        return network

    return make


def short_torchvision_densenet() -> nn.Module:
    """torchvision's DenseNet of two blocks with two layers each, and a transition between them."""
    from torchvision.models import DenseNet

    network: nn.Module = DenseNet(4, (2, 2), 8, bn_size=2, num_classes=10)
    return network


def short_mobilenet() -> nn.Module:
    """torchvision's MobileNetV3 of three blocks, two of them with a sum, all with squeeze and excitation."""
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    blocks = [
        InvertedResidualConfig(8, 3, 8, 8, True, "RE", 1, 1, 1.0),
        InvertedResidualConfig(8, 3, 16, 8, True, "HS", 1, 1, 1.0),
        InvertedResidualConfig(8, 5, 16, 16, True, "HS", 2, 1, 1.0),
    ]
    network: nn.Module = MobileNetV3(blocks, 16, num_classes=10)
    return network


def _same(number: int) -> dict[str, int]:
    return {"independent": number, "coupled": number}


SMALL, COLOUR, LARGE = (3, 32, 32), (3, 64, 64), (3, 45, 60)
NETWORKS: dict[str, Entry] = {
    "vgg16": Entry(ours("vgg16", SMALL, 10, width=0.125), SMALL, 13, _same(13)),
    "resnet18": Entry(ours("resnet18", SMALL, 10, width=0.125), SMALL, 20, {"independent": 20, "coupled": 12}),
    "cifar_resnet": Entry(ours("cifar_resnet", SMALL, 10), SMALL, 19, {"independent": 19, "coupled": 10}),
    "fcn32s": Entry(ours("fcn32s", LARGE, 5, width=0.0625), LARGE, 16, _same(16)),
    "segnet": Entry(ours("segnet", LARGE, 5, width=0.125), LARGE, 25, _same(21)),
    "vgg16_imagenet": Entry(ours("vgg16_imagenet", COLOUR, 2, width=0.0625), COLOUR, 13, _same(13)),
    "torchvision vgg11_bn": Entry(small_torchvision_vgg, SMALL, 8, _same(8)),
    "torchvision resnet50": Entry(
        of_torchvision("resnet50", num_classes=10), COLOUR, 53, {"independent": 53, "coupled": 37}
    ),
    "torchvision densenet121": Entry(of_torchvision("densenet121", num_classes=10), SMALL, 120, _same(120)),
    "torchvision fcn_resnet50": Entry(
        of_torchvision("fcn_resnet50", weights_backbone=None, num_classes=5),
        LARGE, 54, {"independent": 54, "coupled": 38},
    ),
    "torchvision mobilenet_v2": Entry(
        of_torchvision("mobilenet_v2", num_classes=10), COLOUR, 52, {"independent": 35, "coupled": 25}
    ),
    "torchvision resnext50_32x4d": Entry(
        of_torchvision("resnext50_32x4d", num_classes=10), COLOUR, 53, {"independent": 53, "coupled": 37}
    ),
    "timm mobilenetv3_small_050": Entry(
        of_timm("mobilenetv3_small_050"), COLOUR, 53, {"independent": 33, "coupled": 26}
    ),
    "timm hrnet_w18_small": Entry(of_timm("hrnet_w18_small"), COLOUR, 91, {"independent": 91, "coupled": 45}),
}  # fmt: skip

SHORT: dict[str, Entry] = {
    "torchvision densenet, short": Entry(short_torchvision_densenet, SMALL, 10, _same(10)),
    "torchvision mobilenetv3, short": Entry(short_mobilenet, SMALL, 16, {"independent": 10, "coupled": 8}),
    "timm test_efficientnet": Entry(of_timm("test_efficientnet"), SMALL, 17, _same(13)),
    "branches": Entry(Branches, SMALL, 6, {"independent": 6, "coupled": 2}),
    "upsampling": Entry(Upsampling, SMALL, 3, _same(3)),
}
"""With the kinds of blocks of densenet121, mobilenetv3_small_050, hrnet_w18_small and fcn32s, which take long."""
EVERY = {**NETWORKS, **SHORT}

ALIKE = {name for name, entry in EVERY.items() if entry.num_groups["coupled"] == entry.num_groups["independent"]}
"""Networks that are the same in both residual modes: they add nothing up."""


def make_lively(name: str, seed: int = 0) -> nn.Module:
    """A network whose norms have random factors, shifts and statistics, so that every constant shows; in eval mode."""
    torch.manual_seed(seed)
    network = EVERY[name].make()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.5, 0.5)
    return network.eval()
