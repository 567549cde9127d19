"""What a data set gives: images as uint8, labels, splits, and how they become a network's input.

Shapes: B images a batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""uint8 images (B, C, H, W) and a generator to augmented uint8 images of the same shape."""


@dataclass(frozen=True)
class Split:
    """Images (B, C, H, W) uint8 and labels (B,) int64, in a fixed order."""

    images_BCHW: Tensor
    labels_B: Tensor

    def __len__(self) -> int:
        return len(self.labels_B)

    def take(self, index: Tensor) -> Split:
        return Split(self.images_BCHW[index], self.labels_B[index])


@dataclass(frozen=True)
class Splits:
    """A data set: ``val`` gives the rewards, ``test`` is scored twice a trial and nowhere else."""

    train: Split
    val: Split
    test: Split | None
    """``None`` where there is no labelled test split; test scores are null then."""
    num_classes: int
    mean: tuple[float, ...]
    """Of each channel, of images scaled to [0, 1]."""
    std: tuple[float, ...]
    augment: Augment | None = None
    """Applied to training batches only."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        c, h, w = self.train.images_BCHW.shape[1:]
        return int(c), int(h), int(w)

    def split(self, name: str) -> Split:
        """``train``, ``val`` or ``test`` by name; ``test`` may be missing (LookupError)."""
        found: Split | None = getattr(self, name)
        if found is None:
            raise LookupError(f"this data set has no {name} split")
        return found


def normalise(images_BCHW: Tensor, splits: Splits, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 images to network input: scaled to [0, 1], then mean and standard deviation by channel."""
    shape = (1, -1, 1, 1)
    mean = torch.tensor(splits.mean, dtype=dtype, device=images_BCHW.device).view(shape)
    std = torch.tensor(splits.std, dtype=dtype, device=images_BCHW.device).view(shape)
    return (images_BCHW.to(dtype) / 255 - mean) / std


def split_train_val(images: Split, num_val: int, seed: int) -> tuple[Split, Split]:
    """A seeded split of the training images into train and val."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    return images.take(order[num_val:]), images.take(order[:num_val])


def shift_and_flip(pixels: int, flip: bool) -> Augment:
    """Each image shifted by up to ``pixels`` in both directions (edges repeated) and, half the time, mirrored."""

    def augment(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        b, _, h, w = images_BCHW.shape
        device = images_BCHW.device
        padded = F.pad(images_BCHW.float(), (pixels,) * 4, mode="replicate").to(images_BCHW.dtype)
        shift_2B = torch.randint(0, 2 * pixels + 1, (2, b), generator=generator).to(device)
        rows_BH = shift_2B[0][:, None] + torch.arange(h, device=device)
        columns_BW = shift_2B[1][:, None] + torch.arange(w, device=device)
        if flip:
            mirrored_B = torch.rand(b, generator=generator).to(device) < 0.5
            columns_BW = torch.where(mirrored_B[:, None], columns_BW.flip(1), columns_BW)
        index_B = torch.arange(b, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[index_B, rows_BH[:, :, None], columns_BW[:, None, :]].permute(0, 3, 1, 2)

    return augment
