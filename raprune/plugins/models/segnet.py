"""SegNet: the 13 convolutions of VGG-16 with batch norm, and their mirror image, which un-pools by the pools' indices.

Source: Badrinarayanan, Kendall and Cipolla, arXiv 1511.00561, and the authors' Caffe network, whose layer names these
are. Max pools round up, as Caffe's do (360x480 ends at 12x15), and each un-pooling restores the size before its pool,
so images may have any size. The last convolution has neither norm nor ReLU. With 11 classes it has 29,449,355
parameters and 106,712,432,640 multiply-adds at 360x480.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from raprune.plugins.models.base import scaled
from raprune.plugins.models.pretrained import adapt, load_pretrained
from raprune.plugins.models.vgg16 import BLOCKS, VggSettings, published_names
from raprune.registry import MODELS

STAGES = {stage: len(block) for stage, block in enumerate(BLOCKS, 1)}
"""Stage -> its convolutions, in the encoder and in the decoder."""


class SegNet(nn.Module):
    """``convS_I``, ``poolS``, then ``upsampleS``, ``convS_I_D`` from the last stage S to the first."""

    pretrained_layers: ClassVar[dict[str, str]] = published_names(batch_norm=True)
    """torchvision's name of each layer that its ``vgg16_bn`` also has -> its name here."""

    def __init__(self, width: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = in_channels
        for stage, block in enumerate(BLOCKS, 1):
            for number, filters in enumerate(block, 1):
                channels = self._add_convolution(f"{stage}_{number}", channels, scaled(filters, width))
            self.add_module(f"pool{stage}", nn.MaxPool2d(2, ceil_mode=True, return_indices=True))
        for stage, block in reversed(list(enumerate(BLOCKS, 1))):
            self.add_module(f"upsample{stage}", nn.MaxUnpool2d(2))
            for number in range(len(block), 0, -1):
                if (stage, number) != (1, 1):
                    filters = block[0] if number > 1 else BLOCKS[stage - 2][0]
                    channels = self._add_convolution(f"{stage}_{number}_D", channels, scaled(filters, width))
        self.conv1_1_D = nn.Conv2d(channels, num_classes, 3, padding=1)

    def _add_convolution(self, name: str, in_channels: int, channels: int) -> int:
        self.add_module(f"conv{name}", nn.Conv2d(in_channels, channels, 3, padding=1))
        self.add_module(f"conv{name}_bn", nn.BatchNorm2d(channels))
        self.add_module(f"relu{name}", nn.ReLU(True))
        return channels

    def _convolve(self, x: Tensor, name: str) -> Tensor:
        for layer in (f"conv{name}", f"conv{name}_bn", f"relu{name}"):
            x = self.get_submodule(layer)(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes, H, W)."""
        x = images
        pooled = {}
        for stage, num_convolutions in STAGES.items():
            for number in range(1, num_convolutions + 1):
                x = self._convolve(x, f"{stage}_{number}")
            size = x.size()
            x, indices = self.get_submodule(f"pool{stage}")(x)
            pooled[stage] = indices, size
        for stage, num_convolutions in reversed(STAGES.items()):
            indices, size = pooled[stage]
            x = self.get_submodule(f"upsample{stage}")(x, indices, output_size=size)
            for number in range(num_convolutions, 0, -1):
                if (stage, number) != (1, 1):
                    x = self._convolve(x, f"{stage}_{number}_D")
        logits: Tensor = self.conv1_1_D(x)
        return logits

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict whose encoder has torchvision's names, renamed to this network's names."""
        return adapt(tensors, self.state_dict(), self.pretrained_layers)


@MODELS.register("segnet", VggSettings)
def build(settings: VggSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """SegNet: 26 convolutions that label each pixel of images of any size, 29.4 M parameters for 11 classes."""
    network = SegNet(settings.width, num_classes, input_shape[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    load_pretrained(network, settings.pretrained, "vgg16_bn", network.pretrained_layers)
    return network
