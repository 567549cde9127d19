"""Images with boxes in the format of COCO: a folder of images, and a JSON file with images, annotations, categories.

Source: https://cocodataset.org/#format-data (object detection).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits, shift_and_flip
from raprune.plugins.datasets.boxed_files import (
    Annotated,
    identities,
    load_annotated,
    once_and_more_annotated,
    pixel_box,
)
from raprune.plugins.datasets.boxes import Box
from raprune.plugins.datasets.image_files import check_apart, deal, expand, inside, refuse
from raprune.plugins.datasets.normalisation import NormalisedSettings
from raprune.registry import DATASETS
from raprune.study.wording import counted, shown

PARTS: dict[str, tuple[tuple[str, type], ...]] = {
    "images": (("id", int), ("file_name", str)),
    "annotations": (("image_id", int), ("category_id", int), ("bbox", list)),
    "categories": (("id", int), ("name", str)),
}
"""The lists of a file, with the keys and types that are needed of each item."""


class CocoDetectionSettings(NormalisedSettings):
    images: str
    """Folder with the training images; ``$VARIABLES`` are expanded."""
    annotations: str
    """JSON file with the boxes of the training images, such as ``instances_train2017.json``."""
    test_images: str | None = None
    """Folder with the test images; without it and without ``num_test``, test scores are null."""
    test_annotations: str | None = None
    """JSON file with the boxes of the test images; COCO's own validation images serve well."""
    size: int = Field(default=320, ge=32)
    """Height and width, in pixels, to which images are resized, whatever their shape."""
    numbering: Literal["dense", "ids"] = "dense"
    """Classes are the categories in order, from 1 on (``dense``), or have the numbers of the categories (``ids``), as
    torchvision's networks for COCO do; 0 is the background."""
    num_val: int = Field(default=1000, ge=1)
    """Validation images, a seeded part of the training images."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the test images, or of the training images if there are none."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the splits."""
    shift: int = Field(default=16, ge=0)
    """Shift training images by up to this many pixels."""
    flip: bool = True
    """Mirror half of the training images."""

    def problems(self) -> list[tuple[str, str]]:
        problems = [(key, f"no such {what}: {str(expand(name))!r}") for key, name, what in self._missing()]
        if (self.test_images is None) != (self.test_annotations is None):
            absent = "test_images" if self.test_images is None else "test_annotations"
            problems.append((absent, "test_images and test_annotations belong together; one of them is missing"))
        return problems

    def remedies(self) -> list[str]:
        missing = {key: what for key, _, what in self._missing()}
        arguments = [f"--set dataset.{key}=/path/to/{key}{'.json' * (w == 'file')}" for key, w in missing.items()]
        return [" ".join(arguments)] if arguments else []

    def _missing(self) -> list[tuple[str, str, str]]:
        folders = [("images", self.images), ("test_images", self.test_images)]
        files = [("annotations", self.annotations), ("test_annotations", self.test_annotations)]
        missing = [(key, name, "folder") for key, name in folders if name is not None and not expand(name).is_dir()]
        return missing + [(key, name, "file") for key, name in files if name is not None and not expand(name).is_file()]


@DATASETS.register("coco_detection", CocoDetectionSettings)
def load(settings: CocoDetectionSettings) -> Splits:
    """Images of any size with boxes, in the JSON format of COCO."""
    refuse(settings.problems())
    categories, train = _read(Path(expand(settings.annotations)), Path(expand(settings.images)))
    parts: dict[str, list[Annotated]] = {}
    if settings.test_images is not None and settings.test_annotations is not None:
        file = Path(expand(settings.test_annotations))
        others, parts["test"] = _read(file, Path(expand(settings.test_images)))
        if others != categories:
            raise InputError(f"{file} has other categories than {settings.annotations}")
        check_apart({"train": identities(train), "test": identities(parts["test"])})
        if settings.num_test is not None:
            parts["test"] = deal(parts["test"], settings.num_test, settings.split_seed + 1)[1]
    train, repeated = once_and_more_annotated(train)
    num_dealt = settings.num_val + (0 if parts or settings.num_test is None else settings.num_test)
    if len(train) <= num_dealt:
        raise InputError(f"{settings.annotations} has {counted(len(train), 'image')}; {num_dealt} are to be set aside")
    if not parts and settings.num_test is not None:
        train, parts["test"] = deal(train, settings.num_test, settings.split_seed + 1)
    train, parts["val"] = deal(train, settings.num_val, settings.split_seed)
    parts["train"] = [*train, *repeated][: settings.num_train]
    numbers, names = _numbered(categories, settings.numbering)
    numbered = {name: [_renumbered(item, numbers) for item in items] for name, items in parts.items()}
    splits = {name: load_annotated(items, (settings.size, settings.size)) for name, items in numbered.items()}
    mean, std = settings.statistics
    augment = shift_and_flip(settings.shift, settings.flip) if settings.shift or settings.flip else None
    return Splits(splits["train"], splits["val"], splits.get("test"), len(names), mean, std, augment, names)


def _numbered(categories: Mapping[int, str], numbering: str) -> tuple[dict[int, int], tuple[str, ...]]:
    """The class of each category, and the names of all classes."""
    if numbering == "dense":
        return {number: index for index, number in enumerate(categories, start=1)}, ("background", *categories.values())
    names = (categories.get(number, f"no category {number}") for number in range(1, max(categories) + 1))
    return {number: number for number in categories}, ("background", *names)


def _renumbered(item: Annotated, numbers: Mapping[int, int]) -> Annotated:
    return Annotated(item.file, item.size, tuple((numbers[int(box[0])], *box[1:]) for box in item.boxes))


def _read(file: Path, folder: Path) -> tuple[dict[int, str], list[Annotated]]:
    """The categories by number, in order; and the images, whose boxes have the numbers of the categories as classes."""
    found = _lists(file)
    categories = {row["id"]: row["name"] for row in sorted(found["categories"], key=lambda row: int(row["id"]))}
    names = {"background", *categories.values()}
    if len(names) != len(found["categories"]) + 1 or any(number < 1 for number in categories):
        raise InputError(
            f"{file}: categories must have numbers from 1 on and names that differ, none of them background"
        )
    boxes: dict[int, list[Box]] = {row["id"]: [] for row in found["images"]}
    if len(boxes) != len(found["images"]):
        raise InputError(f"{file}: two images have the same id")
    for place, row in enumerate(found["annotations"]):
        where = f"{file}: annotations[{place}]"
        if row["image_id"] not in boxes or row["category_id"] not in categories:
            unknown = "image_id" if row["image_id"] not in boxes else "category_id"
            raise InputError(f"{where} has the {unknown} {row[unknown]}, which the file does not have")
        box = pixel_box(row["category_id"], _edges(row["bbox"]), row.get("iscrowd", 0) == 1, where)
        boxes[row["image_id"]].append(box)
    items = [Annotated(_image(file, folder, row), _size(row), tuple(boxes[row["id"]])) for row in found["images"]]
    return categories, items


def _edges(bbox: list[Any]) -> list[Any]:
    """COCO's left, top, width, height as left, top, right, bottom; unchanged where these are no four numbers."""
    if len(bbox) != 4 or not all(isinstance(value, int | float) for value in bbox):
        return bbox
    left, top, width, height = bbox
    return [left, top, left + width, top + height]


def _image(file: Path, folder: Path, row: Mapping[str, Any]) -> Path:
    path = folder / str(row["file_name"])
    if not inside(folder, path):
        raise InputError(f"{file}: the image {shown(row['file_name'])} leads out of {folder}")
    if not path.is_file():
        raise InputError(f"{file} names an image that is missing; no such file: {path}")
    return path


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = row.get("width"), row.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _lists(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The lists of a file; raises :class:`InputError` that names what is missing or of another type."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}") from None
    for name, keys in PARTS.items():
        rows = found.get(name) if isinstance(found, dict) else None
        if not isinstance(rows, list) or not rows:
            raise InputError(f"{file} has no {name}: COCO's format has lists of {', '.join(PARTS)}")
        for place, row in enumerate(rows):
            for key, kind in keys:
                if not isinstance(row, dict) or not isinstance(row.get(key), kind) or isinstance(row.get(key), bool):
                    raise InputError(f"{file}: {name}[{place}] must have {key}, of type {kind.__name__}")
    return {name: found[name] for name in PARTS}
