"""Images in one folder a class, of any size: the shorter side is resized, the centre is cut out.

Images are decoded as torchvision's ``Resize`` and ``CenterCrop`` do it for ImageNet networks. Every file of a class
folder counts as an image, but those whose names start with a dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from raprune.data import IMAGENET_MEAN, IMAGENET_STD, Split, Splits, shift_and_flip
from raprune.errors import InputError
from raprune.imagefiles import check_apart, content, deal, decode_rgb, expand, for_each, once_and_more, refuse
from raprune.registry import DATASETS, Settings

Labelled = tuple[Path, int]
"""An image file and its class."""


class ImageFolderSettings(Settings):
    root: str
    """Folder with a subfolder of images for each class, or with train/ (and val/, test/) that have them."""
    size: int = Field(default=224, ge=8)
    """Height and width in pixels of the part that is cut out of the centre."""
    resize: int = Field(default=256, ge=8)
    """The shorter side of an image, in pixels, before its centre is cut out."""
    num_val: int = Field(default=1000, ge=1)
    """Validation images, a seeded part of the training images; where there is a val/ it is used, and all of it."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the training images; where there is a test/ it is used, and at most this many."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the other training images."""
    split_seed: int = Field(default=0, ge=0)
    """Of the splits that are parts of the training images."""
    shift: int = Field(default=16, ge=0)
    """Training images are shifted by up to this many pixels."""
    flip: bool = True
    """Half of the training images are mirrored."""

    def problems(self) -> list[tuple[str, str]]:
        found = []
        if not expand(self.root).is_dir():
            found.append(("root", f"no such folder: {str(expand(self.root))!r}"))
        if self.resize < self.size:
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
    splits = {name: _decode(part, settings) for name, part in files.items()}
    return Splits(
        splits["train"],
        splits["val"],
        splits.get("test"),
        num_classes=len(class_names),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        augment=shift_and_flip(settings.shift, settings.flip) if settings.shift or settings.flip else None,
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


def _decode(files: list[Labelled], settings: ImageFolderSettings) -> Split:
    images_BCHW = torch.empty((len(files), 3, settings.size, settings.size), dtype=torch.uint8)
    pixels = images_BCHW.numpy()

    def fill(index: int) -> None:
        file, _ = files[index]
        image = decode_rgb(file, str(file))
        pixels[index] = np.asarray(_centre(image, settings.resize, settings.size)).transpose(2, 0, 1)

    for_each(len(files), fill)
    return Split(images_BCHW, torch.tensor([label for _, label in files], dtype=torch.int64))


def _centre(image: Image.Image, resize: int, size: int) -> Image.Image:
    """The shorter side ``resize`` pixels long, then ``size`` x ``size`` pixels of the centre."""
    shorter = min(image.size)
    width, height = (resize if side == shorter else int(resize * side / shorter) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
