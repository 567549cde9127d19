"""CIFAR-10 through torchvision's loader: 50,000 training images, a seeded part of them for val, and 10,000 for test."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from raprune.plugins.datasets.base import Split, Splits, shift_and_flip, split_train_val
from raprune.plugins.datasets.image_files import expand, fetching, refuse
from raprune.plugins.datasets.normalisation import STATISTICS
from raprune.registry import DATASETS, Settings

FOLDER = "cifar-10-batches-py"


class Cifar10Settings(Settings):
    root: str = "data"
    """Folder that holds, or will hold, ``cifar-10-batches-py``; ``$VARIABLES`` are expanded."""
    download: bool = True
    """Download the data set (163 MB) if it is missing."""
    num_val: int = Field(default=5000, ge=1, le=25_000)
    """Validation images, a seeded part of the training images."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for splitting the training images into train and val."""
    normalisation: Literal["cifar10", "imagenet"] = "cifar10"
    """Data set whose mean and standard deviation normalise the images: use what the network was trained with."""

    def problems(self) -> list[tuple[str, str]]:
        root = expand(self.root)
        if not self.download and not (root / FOLDER).is_dir():
            return [("root", f"has no {FOLDER} and download is off; got {str(root)!r}")]
        return []

    def remedies(self) -> list[str]:
        path = f"--set dataset.root=/path/to/folder-with-{FOLDER}"
        return [path] if self.download else ["--set dataset.download=true  # downloads 163 MB", path]


@DATASETS.register("cifar10", Cifar10Settings)
def load(settings: Cifar10Settings) -> Splits:
    """CIFAR-10 (32x32, 10 classes) from torchvision, downloaded if allowed."""
    from torchvision.datasets import CIFAR10

    refuse(settings.problems())
    root = expand(settings.root)
    with fetching("CIFAR-10", root, settings.download):
        train_file, test_file = (CIFAR10(root, train, download=settings.download) for train in (True, False))
    every = _split(train_file)
    train, val = split_train_val(every, settings.num_val, settings.split_seed)
    mean, std = STATISTICS[settings.normalisation]
    augment = shift_and_flip(4, flip=True)
    return Splits(train, val, _split(test_file), 10, mean, std, augment, tuple(train_file.classes))


def _split(loaded: Any) -> Split:
    images_BCHW = torch.from_numpy(loaded.data).permute(0, 3, 1, 2).contiguous()
    return Split(images_BCHW, torch.tensor(loaded.targets, dtype=torch.int64))
