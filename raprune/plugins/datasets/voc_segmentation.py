"""Pascal VOC segmentation in torchvision's layout: 20 classes and background; VOC's train is split, its val is test.

Source: Everingham et al., The Pascal Visual Object Classes Challenge 2011 and 2012.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import Field

from raprune.plugins.datasets.base import IMAGENET_MEAN, IMAGENET_STD, VOID, Split, Splits, shift_and_flip
from raprune.plugins.datasets.image_files import Pair, decode_pairs, expand, fetching, read_list, refuse
from raprune.plugins.datasets.voc_files import CLASS_NAMES, FOLDERS, deal_parts, lists_of
from raprune.registry import DATASETS, Settings

TASK = "Segmentation"
DOWNLOADS = {"2011": "1.7 GB", "2012": "2.0 GB"}


class VocSegmentationSettings(Settings):
    root: str = "data"
    """Folder that holds, or will hold, VOCdevkit (2011: TrainVal/VOCdevkit); ``$VARIABLES`` are expanded."""
    year: Literal["2011", "2012"] = "2012"
    """Year of the challenge."""
    download: bool = False
    """Download the data set (2.0 GB; 2011: 1.7 GB) if it is missing."""
    size: int = Field(default=500, ge=32)
    """Height and width, in pixels, to which images are padded with the mean colour; larger images are refused."""
    num_val: int = Field(default=200, ge=1)
    """Validation images, a seeded part of VOC's train list."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    num_test: int | None = Field(default=None, ge=1)
    """Use only this many of VOC's val list, which is the test split."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for choosing the images of each split."""
    flip: bool = True
    """Mirror half of the training images."""

    @property
    def folder(self) -> Path:
        return expand(self.root) / FOLDERS[self.year]

    def problems(self) -> list[tuple[str, str]]:
        if not self.download and not self.folder.is_dir():
            message = f"has no {FOLDERS[self.year]} and download is off; got {str(expand(self.root))!r}"
            return [("root", message)]
        return []

    def remedies(self) -> list[str]:
        inside = FOLDERS[self.year].split("/")[0]
        path = f"--set dataset.root=/path/to/folder-with-{inside}"
        download = f"--set dataset.download=true  # downloads {DOWNLOADS[self.year]}"
        return [path] if self.download else [download, path]


@DATASETS.register("voc_segmentation", VocSegmentationSettings)
def load(settings: VocSegmentationSettings) -> Splits:
    """Pascal VOC segmentation (2011 or 2012; 21 classes, void pixels) from torchvision, downloaded if allowed."""
    refuse(settings.problems())
    if settings.download and not _is_complete(settings.folder):
        from torchvision.datasets import VOCSegmentation

        with fetching(f"Pascal VOC {settings.year}", expand(settings.root), download=True):
            VOCSegmentation(expand(settings.root), settings.year, "train", download=True)
    parts = deal_parts(settings.folder, TASK, settings, lambda image: _pair(settings.folder, image))
    pairs = {name: [_pair(settings.folder, image) for image in images] for name, images in parts.items()}
    splits = {name: _decode(part, settings.size) for name, part in pairs.items()}
    return Splits(
        splits["train"],
        splits["val"],
        splits["test"],
        num_classes=len(CLASS_NAMES),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        augment=shift_and_flip(0, flip=True) if settings.flip else None,
        class_names=CLASS_NAMES,
    )


def _pair(folder: Path, image: str) -> Pair:
    return folder / "JPEGImages" / f"{image}.jpg", folder / "SegmentationClass" / f"{image}.png"


def _is_complete(folder: Path) -> bool:
    """Whether all files that the lists name exist; a download may have been cut off."""
    lists = lists_of(folder, TASK).values()
    return all(file.is_file() for file in lists) and all(
        file.is_file()
        for listed in lists
        for image in read_list(listed, folder, lambda image: _pair(folder, image))
        for file in _pair(folder, image)
    )


def _decode(pairs: list[Pair], size: int) -> Split:
    return decode_pairs(pairs, (size, size), len(CLASS_NAMES), VOID, _as_it_is)


def _as_it_is(image: Image.Image, annotation: Image.Image, pair: Pair) -> tuple[Image.Image, Image.Image]:
    return image, annotation
