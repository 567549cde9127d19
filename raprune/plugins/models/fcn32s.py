"""FCN-32s: VGG-16 without norms, its classifier as convolutions, and one deconvolution of stride 32 back to pixels.

Source: Long, Shelhamer and Darrell, arXiv 1411.4038, and the authors' Caffe network, whose layer names these are. With
21 classes it has 136,152,917 parameters, the dense 21x21x64x64 deconvolution counted. Max pools round up, as Caffe's.

The centre of the i-th score's receptive field is pixel 32i + 12.5 of the image with ``padding: published`` and
32i + 15.5 with ``same``; the deconvolution puts it at 32i + 31.5, so the first 19 or 16 rows and columns are cropped.
The rest covers images of any size.

Departures: the score layer starts from small random weights, not from zeros; a dense deconvolution is trained, while
the authors' stayed bilinear.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from raprune.plugins.models.base import scaled
from raprune.plugins.models.pretrained import adapt, load_pretrained
from raprune.plugins.models.vgg16 import BLOCKS, VggSettings, published_names
from raprune.registry import MODELS

STRIDE = 32
KERNEL = 64
"""Side of the deconvolution's kernel, pixels."""

Padding = Literal["published", "same"]
Deconvolution = Literal["dense", "bilinear"]


class Fcn32sSettings(VggSettings):
    padding: Padding = "published"
    """``published``: pad the image by 100 pixels; ``same``: pad each layer so that it keeps its size (cheaper)."""
    deconvolution: Deconvolution = "dense"
    """``dense``: trained, each class computed from all classes; ``bilinear``: fixed, each class from itself alone."""


class Fcn32s(nn.Sequential):
    """The layers in the order they run, then the crop."""

    pretrained_layers: ClassVar[dict[str, str]] = {
        **published_names(batch_norm=False),
        "classifier.0": "fc6",
        "classifier.3": "fc7",
    }
    """torchvision's name of each layer that its VGG-16 also has -> its name here."""

    def __init__(
        self, width: float, num_classes: int, in_channels: int, padding: Padding, deconvolution: Deconvolution
    ) -> None:
        first, last, offset = (100, 0, 19) if padding == "published" else (1, 3, 16)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for stage, block in enumerate(BLOCKS, 1):
            for number, filters in enumerate(block, 1):
                margin = first if not layers else 1
                layers[f"conv{stage}_{number}"] = nn.Conv2d(channels, scaled(filters, width), 3, padding=margin)
                layers[f"relu{stage}_{number}"] = nn.ReLU(True)
                channels = scaled(filters, width)
            layers[f"pool{stage}"] = nn.MaxPool2d(2, ceil_mode=True)
        hidden = scaled(4096, width)
        layers["fc6"] = nn.Conv2d(channels, hidden, 7, padding=last)
        layers["relu6"] = nn.ReLU(True)
        layers["drop6"] = nn.Dropout()
        layers["fc7"] = nn.Conv2d(hidden, hidden, 1)
        layers["relu7"] = nn.ReLU(True)
        layers["drop7"] = nn.Dropout()
        layers["score_fr"] = nn.Conv2d(hidden, num_classes, 1)
        layers["upscore"] = _upscore(num_classes, deconvolution)
        super().__init__(layers)
        self.offset = offset

    def forward(self, input: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes, H, W)."""
        upscored: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        height, width = input.shape[2], input.shape[3]
        return upscored[:, :, self.offset : self.offset + height, self.offset : self.offset + width]

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A published FCN-32s, or a VGG-16 with torchvision's names, in this network's names.

        A dense deconvolution that computes each class from itself alone is reduced to fit a bilinear one.
        """
        expected = self.state_dict()
        adapted = adapt(tensors, expected, {**self.pretrained_layers, "classifier.6": "score_fr"})
        weight = adapted.get("upscore.weight")
        if weight is not None and expected["upscore.weight"].shape[1] == 1:
            adapted["upscore.weight"] = _each_class_from_itself(weight)
        return adapted


def bilinear_kernel() -> Tensor:
    """(64, 64): weights of bilinear interpolation by 32."""
    line = 1 - (torch.arange(KERNEL) - (KERNEL - 1) / 2).abs() / STRIDE
    return torch.outer(line, line)


def _each_class_from_itself(weight: Tensor) -> Tensor:
    """(K, K, 64, 64) as (K, 1, 64, 64) if that loses nothing; else unchanged."""
    if weight.dim() != 4 or weight.shape[0] != weight.shape[1]:
        return weight
    diagonal = torch.arange(len(weight))
    alone = weight[diagonal, diagonal]
    return alone[:, None] if alone.count_nonzero() == weight.count_nonzero() else weight


def _upscore(num_classes: int, deconvolution: Deconvolution) -> nn.ConvTranspose2d:
    """The deconvolution with bilinear weights; fixed weights are a buffer, not a parameter."""
    groups = num_classes if deconvolution == "bilinear" else 1
    upscore = nn.ConvTranspose2d(num_classes, num_classes, KERNEL, stride=STRIDE, groups=groups, bias=False)
    if deconvolution == "bilinear":
        del upscore.weight
        upscore.register_buffer("weight", bilinear_kernel().repeat(num_classes, 1, 1, 1))
        return upscore
    diagonal = torch.arange(num_classes)
    with torch.no_grad():
        upscore.weight.zero_()
        upscore.weight[diagonal, diagonal] = bilinear_kernel()
    return upscore


@MODELS.register("fcn32s", Fcn32sSettings)
def build(settings: Fcn32sSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """FCN-32s: a VGG-16 that labels each pixel of images of any size, 136 M parameters for 21 classes."""
    network = Fcn32s(settings.width, num_classes, input_shape[0], settings.padding, settings.deconvolution)
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            if name == "score_fr":
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    load_pretrained(network, settings.pretrained, "vgg16", network.pretrained_layers)
    return network
