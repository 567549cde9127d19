"""Images of Hugging Face with one class each, in a local folder: ``save_to_disk``, or the Parquet files of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raprune.errors import InputError, first_line
from raprune.plugins.datasets.base import Splits
from raprune.plugins.datasets.hugging_face_files import (
    REMEDY,
    Images,
    check_alike,
    column_of,
    described,
    files_of,
    folder_problems,
    is_image,
    names_of,
    objects_among,
    read,
)
from raprune.plugins.datasets.image_files import expand, refuse
from raprune.plugins.datasets.labelled import LabelledSettings, Part, splits_from
from raprune.registry import DATASETS
from raprune.study.wording import counted


class HuggingFaceSettings(LabelledSettings):
    path: str
    """Folder written by ``save_to_disk``, or with the data set's Parquet files as on the hub; ``$VARIABLES`` are
    expanded."""
    image_column: str | None = None
    """Column with the images; by default the only one of type Image."""
    label_column: str | None = None
    """Column with the classes; by default the only one of type ClassLabel, or of whole numbers."""

    def problems(self) -> list[tuple[str, str]]:
        return folder_problems(self.path)

    def remedies(self) -> list[str]:
        return [REMEDY]


@DATASETS.register("hugging_face", HuggingFaceSettings)
def load(settings: HuggingFaceSettings) -> Splits:
    """A Hugging Face image data set in a local folder (save_to_disk, or Parquet files of the hub)."""
    refuse(settings.problems())
    root = expand(settings.path)
    files = files_of(root)
    tables = {name: _Table.read(name, of_split, settings) for name, of_split in files.items()}
    names = {table.class_names for table in tables.values()}
    if len(names) > 1:
        raise InputError(f"path: the splits in {str(root)!r} have other class names than each other")
    return splits_from({name: table.part() for name, table in tables.items()}, settings, next(iter(names)))


NO_CLASS = -(2**62)
"""Stands for a class that is null."""


@dataclass(frozen=True)
class _Table:
    """One split, its images still encoded."""

    images: Images
    labels: np.ndarray
    """(N,) int64, ``NO_CLASS`` where there is none."""
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, split: str, files: list[Path], settings: HuggingFaceSettings) -> _Table:
        schemas, features = described(files)
        image = column_of(settings.image_column, "image_column", schemas[0], features, is_image, files[0])
        label = _label_column(settings, schemas[0], features, files[0])
        check_alike(files, schemas, (image, label))
        classes = np.concatenate([_classes(file, label) for file in files])
        names, name = names_of(features.get(label, {})), f"the {split} split of {settings.path}"
        if names and len(above := np.flatnonzero(classes >= len(names))):
            said = f"item {above[0]} of {name} has the class {classes[above[0]]}"
            raise InputError(f"{said}; the data set names {counted(len(names), 'class', 'classes')}, from 0 on")
        return cls(Images.read(name, files, image), classes, names)

    def part(self) -> Part:
        def item(index: int) -> Any:
            image = self.images.at(index)
            if self.labels[index] == NO_CLASS:
                raise InputError(f"{self.images.item(index)} has no class")
            return image, int(self.labels[index])

        return Part(self.images.name, len(self.labels), item, (self.images.source, self.labels))


def _classes(file: Path, column: str) -> np.ndarray:
    """(N,) int64: ``NO_CLASS`` where there is none."""
    labels = read(file, [column]).column(column)
    try:
        found: np.ndarray = labels.cast(pa.int64()).fill_null(NO_CLASS).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"label_column: {file} has numbers in {column!r} that no class has: {first_line(error)}"
        ) from None
    return found


def _label_column(
    settings: HuggingFaceSettings, schema: pa.Schema, features: Mapping[str, Mapping[str, Any]], file: Path
) -> str:
    try:
        return column_of(settings.label_column, "label_column", schema, features, _is_label, file)
    except InputError as error:
        boxes = objects_among(schema)
        hint = f"; for the boxes in {', '.join(boxes)} take the data set hugging_face_detection" if boxes else ""
        raise InputError(f"{error}{hint}") from None


def _is_label(kind: pa.DataType, feature: Mapping[str, Any]) -> bool:
    return bool(pa.types.is_integer(kind))
