"""Small networks: two convolutions, something between them, and a third."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


class Net(nn.Module):
    """Two convolutions, something between them, and a third."""

    def __init__(self, between: Any, channels: int = 4, **parts: nn.Module) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(3, channels, 3, padding=1)
        self.last = nn.LazyConv2d(2, 1)
        for name, part in parts.items():
            setattr(self, name, part)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self, self.one(x), self.two(x)))


def net(between: Any, channels: int = 4, **parts: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network = Net(between, channels, **parts).eval()
    network(torch.zeros(2, 3, 8, 8))
    return network
