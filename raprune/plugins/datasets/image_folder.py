"""Images in one folder per class. Images that all have one size stay as they are; others are cropped to their centre.

The crop follows torchvision's ``Resize`` and ``CenterCrop`` for ImageNet networks: the shorter side is resized first.
With ``random_resized_crop``, training images are random parts instead, as those networks are trained.
Every file of a class folder counts as an image, except those whose names start with a dot. What would be left out
without a word is refused: folders in a class folder, links that lead nowhere, a val or test split of another name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.fits import CentreCrop, Fit, Whole
from raprune.plugins.datasets.image_files import deal, expand, refuse
from raprune.plugins.datasets.index import Index, index_of
from raprune.plugins.datasets.normalisation import CroppedSettings
from raprune.plugins.datasets.reading import held
from raprune.plugins.datasets.sources import Files, check_streams_apart, once_and_more
from raprune.plugins.datasets.stream import Stream
from raprune.registry import DATASETS
from raprune.system.paths import legible

DEFAULT_SIZE = 224
"""Size of the crop for images that differ in size: the input size of ImageNet networks."""

OTHER_NAMES = {"val": ("valid", "validation", "dev"), "test": ("testing", "tests")}
"""Split -> what others call its folder."""


class ImageFolderSettings(CroppedSettings):
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

    def _unset(self) -> dict[str, Any]:
        return {**super()._unset(), "normalisation": "imagenet"}

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
        _check_other_names(root, folders)
    class_names = _class_names(folders)
    names, labels, parts = _listed(root, folders, class_names)
    index = index_of(root, names)
    source = Files(str(root), names, index.digests)
    places = _split(settings, source, parts)
    fit = _fit(settings, index, source, places)
    crop = settings.crop(fit)
    splits = {
        name: Split.streamed(Stream(source, part, fit), torch.from_numpy(labels[part])) for name, part in places.items()
    }
    mean, std = settings.statistics
    shift = settings.shift if settings.size is not None else min(settings.shift, min(fit.width, fit.height) // 8)
    shift = 0 if crop is not None else shift
    return held(
        Splits(
            splits["train"].cropped(crop),
            splits["val"],
            splits.get("test"),
            num_classes=len(class_names),
            mean=mean,
            std=std,
            augment=shift_and_flip(shift, settings.flip) if shift or settings.flip else None,
            class_names=class_names,
        )
    )


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in _seen(entries) if os.path.isdir(entry.path))


def _seen(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """``entries`` whose names do not start with a dot. Raises :class:`InputError` for a link that leads nowhere."""
    for entry in entries:
        if not entry.name.startswith("."):
            if entry.is_symlink() and not os.path.exists(entry.path):
                raise InputError(
                    f"{legible(entry.path)} is a link that leads nowhere, or in a circle: mend it, or remove it"
                )
            yield entry


def _check_other_names(root: Path, folders: Mapping[str, Path]) -> None:
    """Refuse a split under another name than ours, which would not be read."""
    classes = _folders(folders["train"])
    for split, others in OTHER_NAMES.items():
        for name in others if split not in folders else ():
            if _folders(root / name) == classes:
                raise InputError(
                    f"{root / name} has the classes of {folders['train']}, but only train/, val/ and test/ are read: "
                    f"rename it to {split}, or move it elsewhere"
                )


def _class_names(folders: dict[str, Path]) -> tuple[str, ...]:
    names = {split: _folders(folder) for split, folder in folders.items()}
    for name in names["train"]:
        if not name.isascii() and name.encode(errors="replace").decode() != name:
            raise InputError(f"{legible(folders['train'] / name)}: a class must have a name in UTF-8: rename it")
    if len(names["train"]) < 2:
        listed = ", ".join(names["train"]) or "none"
        raise InputError(f"{folders['train']}: must have a subfolder for each of at least two classes; found {listed}")
    for split in names:
        for here, there in (("train", split), (split, "train")):
            lonely = sorted(set(names[here]) - set(names[there]))
            if lonely:
                raise InputError(f"{folders[here] / lonely[0]}: {folders[there]} has no class of that name")
    return tuple(names["train"])


def _listed(
    root: Path, folders: Mapping[str, Path], class_names: Sequence[str]
) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """All files, by path below ``root``; their classes; and the places of each split's own."""
    names: list[str] = []
    labels: list[np.ndarray] = []
    parts: dict[str, np.ndarray] = {}
    for split, folder in folders.items():
        first = len(names)
        for label, name in enumerate(class_names):
            files = sorted(_files(folder / name))
            if not files:
                raise InputError(f"{folder / name}: the class has no images")
            below = os.path.relpath(folder / name, root)
            names += [os.path.join(below, file) for file in files]
            labels.append(np.full(len(files), label))
        parts[split] = np.arange(first, len(names))
    return names, np.concatenate(labels).astype(np.int64), parts


def _files(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in _seen(entries):
            if entry.is_dir():
                raise InputError(
                    f"{legible(entry.path)} is a folder in the folder of a class, so its images would not be used: "
                    "move them up, or let its name start with a dot"
                )
            if entry.is_file():
                yield entry.name


def _split(settings: ImageFolderSettings, source: Files, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Splits without a folder of their own are dealt from the training images; repeated images stay in training."""
    check_streams_apart({name: (source, places) for name, places in parts.items()})
    own = parts["train"]
    once, repeated = (own[places].tolist() for places in once_and_more(source.digests[own]))
    wanted = {"test": settings.num_test or 0, "val": settings.num_val}
    wanted = {name: number for name, number in wanted.items() if name not in parts and number}
    if sum(wanted.values()) >= len(once):
        asked = " and ".join(f"num_{name} {number}" for name, number in wanted.items())
        raise InputError(f"{settings.root} has {len(once)} different training images; {asked} take all of them")
    splits: dict[str, list[int]] = {}
    for name, number in wanted.items():
        once, splits[name] = deal(once, number, settings.split_seed)
    for name in parts.keys() - {"train"}:
        _, splits[name] = deal(parts[name].tolist(), len(parts[name]), settings.split_seed)
    if "test" in splits:
        splits["test"] = splits["test"][: settings.num_test]
    _, train = deal(once + repeated, len(once) + len(repeated), settings.split_seed)
    splits = {"train": train[: settings.num_train], **splits}
    return {name: np.array(places, np.int64) for name, places in splits.items()}


def _fit(settings: ImageFolderSettings, index: Index, source: Files, places: Mapping[str, np.ndarray]) -> Fit:
    """How every image gets its size."""
    size, resize = settings.size, settings.resize
    if size is None:
        sizes = index.sizes[np.concatenate(list(places.values()))]
        width, height = sizes[0].tolist()
        if (sizes == sizes[0]).all() and width > 0:
            if min(width, height) < 8:
                first = source.name(int(places["train"][0]))
                raise InputError(f"{first} has {width}x{height} pixels, like all other images: set size, to at least 8")
            return Whole(width, height, "")
    size = size or DEFAULT_SIZE
    return CentreCrop(size, size, resize or round(size * 8 / 7))
