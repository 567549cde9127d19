"""Small networks with one group of each kind: what whole networks have many times over, in a few convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 5


class Depthwise(nn.Module):
    """A depthwise convolution between two 1x1 ones, a concatenation, and a linear layer behind a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.deep, self.two = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1)
        self.norm, self.pool = nn.BatchNorm2d(6), nn.MaxPool2d(2)
        self.last = nn.Linear(10 * 3 * 3, CLASSES)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        deep = torch.relu_(self.norm(self.deep(self.one(x))))
        both = torch.cat([torch.relu(self.two(deep)), deep], 1)
        logits: Tensor = self.last(self.pool(both).flatten(1))
        return logits


def normed(reads: int, filters: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution with its norm, whose factors are random."""
    norm = nn.BatchNorm2d(filters)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, std=0.5)
    return nn.Sequential(nn.Conv2d(reads, filters, size, stride, size // 2, bias=False), norm)


class Residual(nn.Module):
    """Two residual blocks, the second with a shortcut of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = normed(3, 6), normed(6, 6), normed(6, 6)
        self.deeper, self.last, self.shortcut = normed(6, 8, stride=2), normed(8, 8), normed(6, 8, 1, 2)
        self.head = nn.Linear(8 * 4 * 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.outer(F.relu(self.inner(x))))
        x = F.relu(self.shortcut(x) + self.last(F.relu(self.deeper(x))))
        logits: Tensor = self.head(x.flatten(1))
        return logits


class Unpooling(nn.Module):
    """An encoder and a decoder that un-pools by the encoder's indices, so both must keep the same filters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = normed(3, 6), normed(6, 8), normed(8, 6)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.four, self.last = normed(6, 5), nn.Conv2d(5, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x, indices = self.pool(F.relu(self.one(x)))
        x = F.relu(self.three(F.relu(self.two(x))))
        logits: Tensor = self.last(F.relu(self.four(self.unpool(x, indices))))
        return logits


class Branches(nn.Module):
    """Two resolutions side by side, each the sum of both: one goes up by interpolation, one down by a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine, self.coarse = normed(3, 6), normed(6, 6), normed(6, 8, stride=2)
        self.up, self.down = normed(8, 6, 1), normed(6, 8, stride=2)
        self.late, self.head = normed(6, 8, stride=2), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        fine, coarse = F.relu(x + self.fine(x)), F.relu(self.coarse(x))
        up = F.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        fine, coarse = F.relu(fine + up), F.relu(coarse + self.down(fine))
        logits: Tensor = self.head((coarse + self.late(fine)).mean((2, 3)))
        return logits


class Upsampling(nn.Module):
    """A map that is padded widely, halved, doubled by a transposed convolution, and cropped to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=5), normed(6, 8)
        self.up, self.last = nn.ConvTranspose2d(8, 6, 4, 2, bias=False), nn.Conv2d(6, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        x = self.up(F.relu(self.two(F.max_pool2d(F.relu(self.one(x)), 2, ceil_mode=True))))
        logits: Tensor = self.last(F.relu(x[:, :, 4 : 4 + rows, 4 : 4 + columns]))
        return logits


KINDS: dict[str, type[nn.Module]] = {"depthwise": Depthwise, "residual": Residual, "unpooling": Unpooling}
"""For images of 3x8x8."""
