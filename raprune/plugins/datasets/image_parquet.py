"""Labelled images in Parquet files of the Hugging Face layout: a struct column with ``bytes`` and a label column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.image_files import check_apart, deal, expand, once_and_more, refuse
from raprune.plugins.datasets.normalisation import NormalisedSettings
from raprune.plugins.datasets.pixels import content, decode_rgb, for_each
from raprune.registry import DATASETS
from raprune.study.wording import counted


class ImageParquetSettings(NormalisedSettings):
    train: str
    """Parquet file with the training images; ``$VARIABLES`` are expanded."""
    test: str | None = None
    """Parquet file with the test images; without it and without ``num_test``, test scores are null."""
    image_column: str = "img"
    """Struct column whose field ``bytes`` holds an encoded image (JPEG, PNG, ...)."""
    label_column: str = "label"
    """Column with integer labels, 0 to num_classes - 1."""
    num_classes: int = Field(default=10, ge=2)
    """Number of classes of the labels."""
    num_val: int = Field(default=5000, ge=1)
    """Validation images, a seeded part of the training images."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images (for a rehearsal)."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the test file, or of the training images if there is no test file."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the splits."""
    shift: int = Field(default=4, ge=0)
    """Shift training images by up to this many pixels."""
    flip: bool = True
    """Mirror half of the training images."""

    def _missing(self) -> list[tuple[str, str]]:
        files = [("train", self.train), ("test", self.test)]
        return [(key, name) for key, name in files if name is not None and not expand(name).is_file()]

    def problems(self) -> list[tuple[str, str]]:
        return [(key, f"no such file: {str(expand(name))!r}") for key, name in self._missing()]

    def remedies(self) -> list[str]:
        arguments = [f"--set dataset.{key}=/path/to/{key}.parquet" for key, _ in self._missing()]
        return [" ".join(arguments)] if arguments else []


@DATASETS.register("image_parquet", ImageParquetSettings)
def load(settings: ImageParquetSettings) -> Splits:
    """Labelled images of one size in Parquet files (the Hugging Face layout)."""
    refuse(settings.problems())
    train_file = _read(settings, settings.train)
    test_file = _read(settings, settings.test) if settings.test is not None else None
    if test_file is not None:
        check_apart({"train": train_file.identities(), "test": test_file.identities()})
    rows, repeated = once_and_more([digest for digest, _ in train_file.identities()])
    test_rows = list(range(len(test_file.labels))) if test_file is not None else []
    num_dealt = settings.num_val + (settings.num_test or 0 if test_file is None else 0)
    if len(rows) <= num_dealt:
        keys = "num_val takes" if num_dealt == settings.num_val else "num_val and num_test take"
        raise InputError(f"{settings.train} has {counted(len(rows), 'image')}; {keys} {num_dealt} of them")
    if settings.num_test is not None and test_file is None:
        rows, test_rows = deal(rows, settings.num_test, settings.split_seed + 1)
    elif settings.num_test is not None:
        _, test_rows = deal(test_rows, settings.num_test, settings.split_seed + 1)
    rows, val_rows = deal(rows, settings.num_val, settings.split_seed)
    rows += repeated
    size = train_file.decode(rows[0]).shape
    train = train_file.split(rows[: settings.num_train], size)
    val = train_file.split(val_rows, size)
    test = (test_file or train_file).split(test_rows, size) if test_rows else None
    mean, std = settings.statistics
    augment = shift_and_flip(settings.shift, settings.flip)
    return Splits(train, val, test, settings.num_classes, mean, std, augment, train_file.class_names)


@dataclass(frozen=True)
class _File:
    """The contents of a Parquet file, its images still encoded."""

    path: str
    images: pa.Array
    labels: np.ndarray
    class_names: tuple[str, ...]

    def identities(self) -> Iterator[tuple[bytes, str]]:
        for row, data in enumerate(self.images):
            yield content(data.as_py() or b""), f"row {row} of {self.path}"

    def decode(self, row: int) -> np.ndarray:
        return np.asarray(decode_rgb(self.images[row].as_py() or b"", f"{self.path}: the image in row {row}"))

    def split(self, rows: Sequence[int], shape: tuple[int, ...]) -> Split:
        h, w, c = shape
        images_BCHW = torch.empty((len(rows), c, h, w), dtype=torch.uint8)
        pixels = images_BCHW.numpy()

        def fill(index: int) -> None:
            image = self.decode(rows[index])
            if image.shape != shape:
                size, expected = (f"{width}x{height}" for height, width, _ in (image.shape, shape))
                place = f"{self.path}: row {rows[index]} has {size} pixels, others {expected}"
                raise InputError(f"{place}; all images must have the same size")
            pixels[index] = image.transpose(2, 0, 1)

        for_each(len(rows), fill)
        return Split(images_BCHW, torch.from_numpy(self.labels[list(rows)].astype(np.int64)))


def _read(settings: ImageParquetSettings, name: str) -> _File:
    path = str(expand(name))
    try:
        schema = pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot be used: {path} is not a Parquet file: {error}") from None
    for column in (settings.image_column, settings.label_column):
        if column not in schema.names:
            raise InputError(f"{path} has no column {column!r}; its columns are {', '.join(schema.names)}")
    kind = schema.field(settings.image_column).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise InputError(f"{path}: column {settings.image_column!r} must be a struct with a field bytes; it is {kind}")
    kind = schema.field(settings.label_column).type
    if not pa.types.is_integer(kind):
        raise InputError(f"{path}: column {settings.label_column!r} must be of integers; it is {kind}")
    table = pq.read_table(path, columns=[settings.image_column, settings.label_column])
    column = table.column(settings.label_column)
    if column.null_count:
        row = column.is_null().index(True)
        raise InputError(f"{path}: row {row} has no label")
    labels = column.to_numpy()
    outside = np.flatnonzero((labels < 0) | (labels >= settings.num_classes))
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{path}: row {row} has label {labels[row]}; num_classes is {settings.num_classes}")
    images = table.column(settings.image_column).combine_chunks().field("bytes")
    return _File(path, images, labels, _class_names(schema, settings))


def _class_names(schema: Any, settings: ImageParquetSettings) -> tuple[str, ...]:
    """The names that the Hugging Face library stored in the file; empty if there are none that fit."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    label = described.get("info", {}).get("features", {}).get(settings.label_column, {})
    names = tuple(map(str, label.get("names", ())))
    return names if len(names) == settings.num_classes else ()
