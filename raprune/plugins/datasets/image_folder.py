"""Images in one folder per class. Images that all have one size stay as they are; others are cropped to their centre.

The crop follows torchvision's ``Resize`` and ``CenterCrop`` for ImageNet networks: the shorter side is resized first.
Every file of a class folder counts as an image, except those whose names start with a dot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.image_files import (
    centre_crop,
    check_apart,
    content,
    deal,
    decode_rgb,
    expand,
    for_each,
    once_and_more,
    refuse,
    upright_size,
)
from raprune.plugins.datasets.normalisation import NormalisedSettings
from raprune.registry import DATASETS

DEFAULT_SIZE = 224
"""Size of the crop for images that differ in size: the input size of ImageNet networks."""
Labelled = tuple[Path, int]
"""An image file and its class."""


class ImageFolderSettings(NormalisedSettings):
    root: str
    """Folder with a subfolder of images for each class, or with train/ (and optionally val/, test/) laid out so."""
    size: int | None = Field(default=None, ge=8)
    """Height and width, in pixels, of the centre crop; by default the images are used whole if all have the same size,
    else 224."""
    resize: int | None = Field(default=None, ge=8)
    """Length, in pixels, to which the shorter side is resized before the crop; by default 8/7 of ``size``."""
    num_val: int = Field(default=1000, ge=1)
    """Validation images, a seeded part of the training images; ignored if there is a val/, which is used whole."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the training images; if there is a test/, at most this many are taken from it."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the splits taken from the training images."""
    shift: int = Field(default=16, ge=0)
    """Shift training images by up to this many pixels; without ``size``, by at most an eighth of the shorter side."""
    flip: bool = True
    """Mirror half of the training images."""

    @model_validator(mode="before")
    @classmethod
    def _resize_follows(cls, given: Any) -> Any:
        size = given.get("size") if isinstance(given, dict) else None
        return {**given, "resize": round(size * 8 / 7)} if type(size) is int and "resize" not in given else given

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dump: dict[str, Any] = handler(self)
        unset = {"mean": None, "std": None, "normalisation": "imagenet"}
        return {key: value for key, value in dump.items() if key not in unset or value != unset[key]}

    def problems(self) -> list[tuple[str, str]]:
        problems = []
        if not expand(self.root).is_dir():
            problems.append(("root", f"no such folder: {str(expand(self.root))!r}"))
        if self.resize is not None and self.size is None:
            problems.append(("size", f"is required because resize is {self.resize}"))
        if self.resize is not None and self.size is not None and self.resize < self.size:
            problems.append(("resize", f"must be at least size, {self.size}; got {self.resize}"))
        return problems

    def remedies(self) -> list[str]:
        if expand(self.root).is_dir():
            return []
        return ["--set dataset.root=/path/to/folder  # with a subfolder of images for each class"]


@DATASETS.register("image_folder", ImageFolderSettings)
def load(settings: ImageFolderSettings) -> Splits:
    """Images of any size in one folder per class."""
    refuse(settings.problems())
    root = expand(settings.root)
    folders = {"train": root}
    if _folders(root / "train"):
        folders = {name: root / name for name in ("train", "val", "test") if (root / name).is_dir()}
    class_names = _class_names(folders)
    files = _split(settings, {name: _labelled(folder, class_names) for name, folder in folders.items()})
    fit, shape = _fit(settings, [file for part in files.values() for file, _ in part])
    splits = {name: _decode(part, fit, shape) for name, part in files.items()}
    mean, std = settings.statistics
    shift = settings.shift if settings.size is not None else min(settings.shift, min(shape) // 8)
    return Splits(
        splits["train"],
        splits["val"],
        splits.get("test"),
        num_classes=len(class_names),
        mean=mean,
        std=std,
        augment=shift_and_flip(shift, settings.flip) if shift or settings.flip else None,
        class_names=class_names,
    )


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_names(folders: dict[str, Path]) -> tuple[str, ...]:
    names = {split: _folders(folder) for split, folder in folders.items()}
    if len(names["train"]) < 2:
        listed = ", ".join(names["train"]) or "none"
        raise InputError(f"{folders['train']}: must have a subfolder for each of at least two classes; found {listed}")
    for split in names:
        for here, there in (("train", split), (split, "train")):
            lonely = sorted(set(names[here]) - set(names[there]))
            if lonely:
                raise InputError(f"{folders[here] / lonely[0]}: {folders[there]} has no class of that name")
    return tuple(names["train"])


def _labelled(folder: Path, class_names: Sequence[str]) -> list[Labelled]:
    labelled: list[Labelled] = []
    for label, name in enumerate(class_names):
        files = sorted(p for p in (folder / name).iterdir() if p.is_file() and not p.name.startswith("."))
        if not files:
            raise InputError(f"{folder / name}: the class has no images")
        labelled += [(file, label) for file in files]
    return labelled


def _split(settings: ImageFolderSettings, files: dict[str, list[Labelled]]) -> dict[str, list[Labelled]]:
    """Splits without a folder of their own are dealt from the training images; repeated images stay in training."""
    contents = {name: [content(file) for file, _ in part] for name, part in files.items()}
    check_apart(
        {
            name: [(digest, str(file)) for digest, (file, _) in zip(contents[name], part, strict=True)]
            for name, part in files.items()
        }
    )
    once, repeated = ([files["train"][i] for i in places] for places in once_and_more(contents["train"]))
    wanted = {"test": settings.num_test or 0, "val": settings.num_val}
    wanted = {name: number for name, number in wanted.items() if name not in files and number}
    if sum(wanted.values()) >= len(once):
        asked = " and ".join(f"num_{name} {number}" for name, number in wanted.items())
        raise InputError(f"{settings.root} has {len(once)} different training images; {asked} take all of them")
    splits = {}
    for name, number in wanted.items():
        once, splits[name] = deal(once, number, settings.split_seed)
    for name in set(files) - {"train"}:
        _, splits[name] = deal(files[name], len(files[name]), settings.split_seed)
    if "test" in splits:
        splits["test"] = splits["test"][: settings.num_test]
    _, train = deal(once + repeated, len(once) + len(repeated), settings.split_seed)
    return {"train": train[: settings.num_train], **splits}


Fit = Callable[[Image.Image], Image.Image]


def _fit(settings: ImageFolderSettings, files: Sequence[Path]) -> tuple[Fit, tuple[int, int]]:
    """The function applied to every image, and the height and width of its result."""
    size, resize = settings.size, settings.resize
    if size is None and (own := _common_size(files)) is not None:
        if min(own) < 8:
            raise InputError(f"{files[0]} has {own[0]}x{own[1]} pixels, like all other images: set size, to at least 8")
        return (lambda image: image), (own[1], own[0])
    size = size or DEFAULT_SIZE
    return partial(centre_crop, resize=resize or round(size * 8 / 7), size=size), (size, size)


def _common_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height that all images share, or ``None``; the first that differs ends the search."""
    first = upright_size(files[0])
    return first if all(upright_size(file) == first for file in files) else None


def _decode(files: list[Labelled], fit: Fit, shape: tuple[int, int]) -> Split:
    images_BCHW = torch.empty((len(files), 3, *shape), dtype=torch.uint8)
    pixels = images_BCHW.numpy()

    def fill(index: int) -> None:
        file, _ = files[index]
        pixels[index] = np.asarray(fit(decode_rgb(file, str(file)))).transpose(2, 0, 1)

    for_each(len(files), fill)
    return Split(images_BCHW, torch.tensor([label for _, label in files], dtype=torch.int64))
