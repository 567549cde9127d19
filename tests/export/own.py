"""A user's own network and data, named by import path."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.plugins.datasets.base import Split, Splits


class Counted(nn.Module):
    """Takes the number of images for a constant, which no exporter can follow."""

    def forward(self, images: Tensor) -> Tensor:
        return images * torch.ones(int(images.shape[0]), 1, 1, 1)


class Own(nn.Module):
    """A residual block whose summands can keep different filters, then an un-pooling and a classifier."""

    def __init__(self, num_classes: int, width: int, counts: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.last = nn.Conv2d(width, 6, 1)
        self.head = nn.Linear(6, num_classes)
        self.counted = Counted() if counts else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        images = self.counted(images)
        x = F.relu(self.norm(self.stem(images)))
        x = F.dropout(x + self.inner(x), 0.1, self.training)
        size = x.size()
        x, places = self.pool(x)
        x = F.relu(self.last(self.unpool(x, places, output_size=size)))
        return self.head(x.mean((2, 3)))


def build(num_classes: int, width: int = 8, counts: bool = False) -> nn.Module:
    """The network; ``counts`` makes it one that knows how many images there are."""
    return Own(num_classes, width, counts)


def data(num_train: int = 40) -> Splits:
    """Float images of 9 x 7 pixels."""
    generator = torch.Generator().manual_seed(0)

    def split(number: int) -> Split:
        return Split(torch.randn(number, 1, 9, 7, generator=generator), torch.arange(number) % 3)

    return Splits(split(num_train), split(12), split(10), 3, class_names=("a", "b", "c"))
