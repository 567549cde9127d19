"""Networks. Contract: ``build(settings, num_classes=..., input_shape=(C, H, W)) -> nn.Module``, one file per network.

The network takes (B, C, H, W) float images and can be traced with ``torch.fx``; tracing finds its prunable layers,
so a network says nothing about pruning. Its output is (B, num_classes), or (B, num_classes, H, W) for one class per
pixel. Its initial weights come from torch's global generator, which the caller seeds. ``build`` raises ValueError,
naming the image size, for images that the network cannot take.

A setting called ``pretrained`` may change only the initial weights: code that loads other weights builds the network
with ``none``. A network may have ``adapt_state_dict(tensors) -> tensors``, which renames the tensors of a published
network to this network's names; :func:`raprune.network.weights.load_checkpoint` calls it.
"""

from __future__ import annotations

from pydantic import Field

from raprune.registry import Settings


class WidthSettings(Settings):
    """Settings of every network whose width can be scaled."""

    width: float = Field(default=1.0, gt=0, le=4)
    """Factor on every layer's number of filters; 1 gives the published network."""


def scaled(filters: int, width: float) -> int:
    """``filters`` of the published network at ``width``; at least one."""
    return max(1, round(filters * width))
