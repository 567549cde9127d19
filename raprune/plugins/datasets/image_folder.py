"""Images in one folder a class. Images of one size stay as they are; of others the centre is cut out.

Which is done as torchvision's ``Resize`` and ``CenterCrop`` do it for ImageNet networks: the shorter side is resized
first. Every file of a class folder counts as an image, but those whose names start with a dot.
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
"""Of images that differ in size, as ImageNet networks take them."""
Labelled = tuple[Path, int]
"""An image file and its class."""


class ImageFolderSettings(NormalisedSettings):
    root: str
    """Folder with a subfolder of images for each class, or with train/ (and val/, test/) that have them."""
    size: int | None = Field(default=None, ge=8)
    """Height and width in pixels of the part that is cut out of the centre; by default the images' own size where all
    have the same, and 224 where they have not."""
    resize: int | None = Field(default=None, ge=8)
    """The shorter side of an image, in pixels, before its centre is cut out; by default 8/7 of ``size``."""
    num_val: int = Field(default=1000, ge=1)
    """Validation images, a seeded part of the training images; where there is a val/ it is used, and all of it."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the training images; where there is a test/ it is used, and at most this many."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the other training images."""
    split_seed: int = Field(default=0, ge=0)
    """Of the splits that are parts of the training images."""
    shift: int = Field(default=16, ge=0)
    """Training images are shifted by up to this many pixels; of their own size, by at most an eighth of it."""
    flip: bool = True
    """Half of the training images are mirrored."""

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
        found = []
        if not expand(self.root).is_dir():
            found.append(("root", f"no such folder: {str(expand(self.root))!r}"))
        if self.resize is not None and self.size is None:
            found.append(("size", f"is required where resize is given, {self.resize}"))
        if self.resize is not None and self.size is not None and self.resize < self.size:
            found.append(("resize", f"must be at least size, {self.size}; got {self.resize}"))
        return found

    def remedies(self) -> list[str]:
        if expand(self.root).is_dir():
            return []
        return ["--set dataset.root=/path/to/folder  # with a subfolder of images for each class"]


@DATASETS.register("image_folder", ImageFolderSettings)
def load(settings: ImageFolderSettings) -> Splits:
    """Images of any size in one folder a class, by path."""
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
        found = ", ".join(names["train"]) or "none"
        raise InputError(f"{folders['train']}: must have a subfolder for each of at least two classes; found {found}")
    for split in names:
        for one, other in (("train", split), (split, "train")):
            lonely = sorted(set(names[one]) - set(names[other]))
            if lonely:
                raise InputError(f"{folders[one] / lonely[0]}: {folders[other]} has no class of that name")
    return tuple(names["train"])


def _labelled(folder: Path, class_names: Sequence[str]) -> list[Labelled]:
    found: list[Labelled] = []
    for label, name in enumerate(class_names):
        files = sorted(p for p in (folder / name).iterdir() if p.is_file() and not p.name.startswith("."))
        if not files:
            raise InputError(f"{folder / name}: the class has no images")
        found += [(file, label) for file in files]
    return found


def _split(settings: ImageFolderSettings, files: dict[str, list[Labelled]]) -> dict[str, list[Labelled]]:
    """What has no folder of its own is dealt from the training images; an image that is there twice is trained on."""
    contents = {name: [content(file) for file, _ in part] for name, part in files.items()}
    check_apart(
        {
            name: [(one, str(file)) for one, (file, _) in zip(contents[name], part, strict=True)]
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
    """What is done to every image, and the height and width that it has then."""
    size, resize = settings.size, settings.resize
    if size is None and (own := _common_size(files)) is not None:
        if min(own) < 8:
            raise InputError(
                f"{files[0]} has {own[0]}x{own[1]} pixels, and so have all others: give size, of at least 8"
            )
        return (lambda image: image), (own[1], own[0])
    size = size or DEFAULT_SIZE
    return partial(_centre, resize=resize or round(size * 8 / 7), size=size), (size, size)


def _common_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height, where all images have the same; the first that differs ends the search."""
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


def _centre(image: Image.Image, resize: int, size: int) -> Image.Image:
    """The shorter side ``resize`` pixels long, then ``size`` x ``size`` pixels of the centre."""
    shorter = min(image.size)
    width, height = (resize if side == shorter else int(resize * side / shorter) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
