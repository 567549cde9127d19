"""Images of Hugging Face with boxes, in a local folder: ``save_to_disk``, or the Parquet files of the hub.

Source: https://huggingface.co/docs/datasets/object_detection: a column of objects with COCO's boxes and a class each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from PIL import Image
from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.boxed_files import load_boxed
from raprune.plugins.datasets.boxes import Box
from raprune.plugins.datasets.hugging_face_files import (
    BOX,
    REMEDY,
    Images,
    check_alike,
    column_of,
    described,
    feature_of,
    fields_of,
    files_of,
    folder_problems,
    is_image,
    names_of,
    read,
)
from raprune.plugins.datasets.image_files import check_apart, expand, refuse
from raprune.plugins.datasets.labelled import dealt
from raprune.plugins.datasets.normalisation import NormalisedSettings
from raprune.registry import DATASETS, nearest

FORM = "boxes must be in COCO's form: left, top, width and height, in pixels"
CATEGORIES = ("category", "categories", "category_id", "label", "labels")
"""Usual names of the field with an object's class."""
CROWD = "iscrowd"
ROUNDED = 1.0
"""Pixels by which a box may pass the edge of its image, because its numbers were rounded."""


class HuggingFaceDetectionSettings(NormalisedSettings):
    path: str
    """Folder written by ``save_to_disk``, or with the data set's Parquet files as on the hub; ``$VARIABLES`` are
    expanded."""
    image_column: str | None = None
    """Column with the images; by default the only one of type Image."""
    objects_column: str | None = None
    """Column with the objects of each image; by default the only one with a field ``bbox``."""
    category_field: str | None = None
    """Field of the objects with their class; by default the only one of type ClassLabel, or ``category``."""
    outside: Literal["refuse", "cut"] = "refuse"
    """A box that reaches more than a pixel beyond its image is refused, or cut at the edge (``cut``)."""
    size: int = Field(default=320, ge=32)
    """Height and width, in pixels, to which images are resized, whatever their shape."""
    num_val: int = Field(default=1000, ge=1)
    """Validation images, a seeded part of the training images; ignored if the data set has a validation split."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the test split, or of the training images if there is none."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the splits."""
    shift: int = Field(default=16, ge=0)
    """Shift training images by up to this many pixels."""
    flip: bool = True
    """Mirror half of the training images."""

    def problems(self) -> list[tuple[str, str]]:
        return folder_problems(self.path)

    def remedies(self) -> list[str]:
        return [REMEDY]


@DATASETS.register("hugging_face_detection", HuggingFaceDetectionSettings)
def load(settings: HuggingFaceDetectionSettings) -> Splits:
    """Hugging Face images with boxes in a local folder (save_to_disk, or Parquet files of the hub)."""
    refuse(settings.problems())
    root = expand(settings.path)
    tables = {name: _Table.read(name, files, settings) for name, files in files_of(root).items()}
    names = {table.class_names for table in tables.values()}
    if len(names) > 1:
        raise InputError(f"path: the splits in {str(root)!r} have other class names than each other")
    num_classes = max(table.num_classes for table in tables.values())
    if not num_classes:
        raise InputError(f"path: no image in {str(root)!r} has an object")
    rows = _rows(tables, settings)
    of = {name: tables.get(name, tables["train"]) for name in rows}
    splits = {name: of[name].split(rows[name], settings) for name in rows}
    mean, std = settings.statistics
    augment = shift_and_flip(settings.shift, settings.flip) if settings.shift or settings.flip else None
    class_names = _with_background(next(iter(names)) or tuple(map(str, range(num_classes))))
    return Splits(
        splits["train"], splits["val"], splits.get("test"), len(class_names), mean, std, augment, class_names
    )  # fmt: skip


def _with_background(names: tuple[str, ...]) -> tuple[str, ...]:
    """The data set's classes count from 1 on; 0 is the background."""
    return ("background" if "background" not in names else "no object", *names)


def _rows(tables: Mapping[str, _Table], settings: HuggingFaceDetectionSettings) -> dict[str, list[int]]:
    """Split -> rows of the table it comes from. A training image equal to one that is scored is left out."""
    rows = dealt({name: (table.images.name, len(table.objects)) for name, table in tables.items()}, settings)
    contents = {name: [bytes(digest) for digest in table.images.source.digests] for name, table in tables.items()}
    check_apart(
        {name: [(contents[name][i], table.images.item(i)) for i in rows[name]] for name, table in tables.items()}
    )
    held = {contents["train"][i] for name in rows.keys() - tables.keys() for i in rows[name]}
    return {**rows, "train": [i for i in rows["train"] if contents["train"][i] not in held]}


@dataclass(frozen=True)
class _Table:
    """One split, its images still encoded."""

    images: Images
    objects: Sequence[Any]
    """For each image its objects, as the file has them."""
    category: str
    """The field with an object's class."""
    class_names: tuple[str, ...]
    """Empty where the data set has none."""
    num_classes: int
    """As many as have names, or else are numbered."""

    @classmethod
    def read(cls, split: str, files: list[Path], settings: HuggingFaceDetectionSettings) -> _Table:
        schemas, features = described(files)
        image = column_of(settings.image_column, "image_column", schemas[0], features, is_image, files[0])
        column = column_of(settings.objects_column, "objects_column", schemas[0], features, _has_boxes, files[0])
        check_alike(files, schemas, (image, column))
        fields, feature = fields_of(schemas[0].field(column).type), features.get(column, {})
        category = _category(settings.category_field, fields, feature, f"{files[0]}: the objects in {column}")
        objects = [row for file in files for row in read(file, [column]).column(column).to_pylist()]
        names = names_of(feature_of(feature, category))
        images = Images.read(f"the {split} split of {settings.path}", files, image)
        given = (label for row in objects for _, label, _ in _values(row, category))
        number = len(names) or max((label + 1 for label in given if isinstance(label, int)), default=0)
        return cls(images, objects, category, names, number)

    def split(self, rows: Sequence[int], settings: HuggingFaceDetectionSettings) -> Split:
        """The images in ``rows`` with their boxes. Raises :class:`InputError` that names the row of a wrong one."""
        boxes = {index: self._boxes(index) for index in rows}
        edges = [box[1:5] for of_image in boxes.values() for box in of_image]
        if edges and max(map(max, edges)) <= 1:
            raise InputError(f"{self.images.name} has boxes between 0 and 1, as if they were shares: {FORM}")

        def item(place: int) -> tuple[Image.Image, Sequence[Box]]:
            index = rows[place]
            image = self.images.at(index)
            if settings.outside == "refuse":
                self._check_inside(index, boxes[index], image.size)
            return image, boxes[index]

        return load_boxed(len(rows), item, (settings.size, settings.size))

    def _boxes(self, index: int) -> list[Box]:
        """Rows of labels, with edges in pixels."""
        found: list[Box] = []
        row, number = self.objects[index], self.num_classes
        if isinstance(row, Mapping) and len(row.get(BOX) or ()) != len(row.get(self.category) or ()):
            raise InputError(f"{self.images.item(index)} has not as many boxes ({BOX}) as classes ({self.category})")
        for place, (box, label, crowd) in enumerate(_values(row, self.category)):
            where = f"{self.images.item(index)}: box {place}"
            if not isinstance(label, int) or not 0 <= label < number:
                raise InputError(f"{where} has the {self.category} {label}; it must be from 0 to {number - 1}")
            if (problem := _box_problem(box)) is not None:
                raise InputError(f"{where} is {_shown(box)}, which {problem}: {FORM}")
            left, top, width, height = box
            found.append((label + 1, left, top, left + width, top + height, float(crowd == 1)))
        return found

    def _check_inside(self, index: int, boxes: Sequence[Box], size: tuple[int, int]) -> None:
        for place, (_, left, top, right, bottom, _) in enumerate(boxes):
            if min(left, top) < -ROUNDED or right > size[0] + ROUNDED or bottom > size[1] + ROUNDED:
                box = _shown([left, top, right - left, bottom - top])
                raise InputError(
                    f"{self.images.item(index)}: box {place} is {box}, which reaches beyond its image of "
                    f"{size[0]}x{size[1]} pixels: {FORM}; outside: cut would cut it at the edge"
                )


def _values(row: Any, category: str) -> Iterator[tuple[Any, Any, Any]]:
    """Box, class and crowd of each object of an image, which may have none."""
    if isinstance(row, Mapping):  # a struct of lists
        boxes = row.get(BOX) or []
        yield from zip(boxes, row.get(category) or [], row.get(CROWD) or [0] * len(boxes), strict=False)
    else:
        yield from ((one.get(BOX), one.get(category), one.get(CROWD)) for one in row or () if one is not None)


def _has_boxes(kind: pa.DataType, feature: Mapping[str, Any]) -> bool:
    del feature
    return BOX in fields_of(kind)


def _category(wanted: str | None, fields: Mapping[str, pa.DataType], feature: Mapping[str, Any], where: str) -> str:
    """The field with the classes: the one that the settings name, of type ClassLabel, or with a usual name."""
    if wanted is not None and wanted not in fields:
        raise InputError(f"category_field: {where} have no field {wanted!r}{nearest(wanted, list(fields))}")
    said = [name for name in fields if feature_of(feature, name).get("_type") == "ClassLabel"]
    usual = [name for name in CATEGORIES if name in fields]
    chosen = [wanted] if wanted is not None else said if len(said) == 1 else usual[:1]
    if not chosen:
        raise InputError(f"category_field: {where} have no class among {', '.join(fields)}: name the field")
    if not pa.types.is_integer(fields[chosen[0]]):
        kind = fields[chosen[0]]
        raise InputError(f"category_field: {where} have classes of type {kind} in {chosen[0]}; it must be ClassLabel")
    return chosen[0]


def _box_problem(box: object) -> str | None:
    values = box if isinstance(box, Sequence) else ()
    if len(values) != 4 or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return "is not four numbers"
    return None if min(values[2:]) > 0 else "has no width or no height"


def _shown(box: object) -> str:
    values = list(box) if isinstance(box, Sequence) and not isinstance(box, str) else [box]
    return f"[{', '.join(f'{value:.6g}' if isinstance(value, float) else str(value) for value in values[:8])}]"
