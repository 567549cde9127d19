"""The one-stage detection networks of torchvision, by their name there, for images of one size.

Source: https://docs.pytorch.org/vision/stable/models.html. Nothing is downloaded unless ``pretrained`` says so.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from raprune.plugins.models.detector import Detector
from raprune.plugins.models.pretrained import PublishedSettings, load_all_but_head
from raprune.registry import MODELS
from raprune.study.library_names import OneOf
from raprune.study.wording import counted

FAMILIES = {
    "ssd300_vgg16": "ssd",
    "ssdlite320_mobilenet_v3_large": "ssd",
    "retinanet_resnet50_fpn": "retinanet",
    "retinanet_resnet50_fpn_v2": "retinanet",
    "fcos_resnet50_fpn": "fcos",
}
"""torchvision's name -> the head of ``mean_average_precision``."""
TWO_STAGES = (
    "has two stages: its second reads regions that its first finds, a number that differs from image to image, which "
    "no traced network holds"
)
NETWORK = OneOf("torchvision has no one-stage detection network", tuple(FAMILIES), (("rcnn", TWO_STAGES),))
WITHOUT_EPS = ("retinanet_resnet50_fpn",)
"""Networks whose published weights torchvision runs with batch norms that add nothing to the variance."""


class TorchvisionDetectionSettings(PublishedSettings):
    network: Annotated[str, NETWORK]
    """torchvision's name of the network, such as ``ssdlite320_mobilenet_v3_large`` or ``retinanet_resnet50_fpn``."""

    def problems(self) -> list[tuple[str, str]]:
        problem = NETWORK.problem(self.network)
        return super().problems() + ([] if problem is None else [("network", problem)])


@MODELS.register("torchvision_detection", TorchvisionDetectionSettings)
def build(settings: TorchvisionDetectionSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A one-stage detection network of torchvision (SSD, SSDlite, RetinaNet, FCOS) by its name there."""
    for _, problem in settings.problems():
        raise ValueError(problem)
    channels, height, width = input_shape
    if channels != 3:
        raise ValueError(f"{settings.network} takes images of 3 channels; got {counted(channels, 'channel')}")
    network = _made(settings.network, num_classes)
    if settings.source != "none":
        _load(network, settings, num_classes)
    try:
        return Detector(
            network.backbone, network.head, network.anchor_generator, FAMILIES[settings.network], input_shape
        )
    except (RuntimeError, ZeroDivisionError) as error:  # a map that would be smaller than a pixel
        raise ValueError(f"{settings.network} does not take images of {height}x{width}: {error}") from None


def _made(name: str, num_classes: int) -> Any:
    from torchvision.models import get_model

    return get_model(name, weights=None, weights_backbone=None, num_classes=num_classes)


def _load(network: nn.Module, settings: TorchvisionDetectionSettings, num_classes: int) -> None:
    """The published weights, except those of layers whose size follows from another number of classes."""
    with torch.random.fork_rng(devices=[]):
        other = _made(settings.network, num_classes + 1)
    theirs = other.state_dict()
    head = {
        name.rpartition(".")[0] for name, tensor in network.state_dict().items() if tensor.shape != theirs[name].shape
    }
    load_all_but_head(network, settings.source, settings.network, tuple(head))
    for module in network.modules():
        if settings.network in WITHOUT_EPS and isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
