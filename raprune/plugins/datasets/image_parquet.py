"""Labelled images in Parquet files of the Hugging Face layout: a struct column with ``bytes`` and a label column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.fits import CentreCrop, Fit, Whole
from raprune.plugins.datasets.hugging_face_files import features_of, names_of, parquet_below
from raprune.plugins.datasets.image_files import deal, expand, refuse
from raprune.plugins.datasets.normalisation import CroppedSettings
from raprune.plugins.datasets.pixels import decode_rgb
from raprune.plugins.datasets.reading import held
from raprune.plugins.datasets.rows import is_encoded, naming_rows, rows_of
from raprune.plugins.datasets.sources import Source, check_streams_apart, once_and_more
from raprune.plugins.datasets.stream import Stream
from raprune.registry import DATASETS
from raprune.study.wording import counted


class ImageParquetSettings(CroppedSettings):
    train: str
    """Parquet file with the training images, or a folder of such files; ``$VARIABLES`` are expanded."""
    val: str | None = None
    """The same of the validation images; without it they are a part of the training images."""
    test: str | None = None
    """The same of the test images; without it and without ``num_test``, test scores are null."""
    image_column: str = "img"
    """Struct column whose field ``bytes`` holds an encoded image (JPEG, PNG, ...)."""
    label_column: str = "label"
    """Column with integer labels, 0 to num_classes - 1."""
    num_classes: int = Field(default=10, ge=2)
    """Number of classes of the labels."""
    size: int | None = Field(default=None, ge=8)
    """Height and width, in pixels, of a centre crop; without it the images must all have one size, which they keep."""
    resize: int | None = Field(default=None, ge=8)
    """Length, in pixels, to which the shorter side is resized before the crop; by default 8/7 of ``size``."""
    num_val: int = Field(default=5000, ge=1)
    """Validation images, a seeded part of the training images; ignored if ``val`` is set, which is used whole."""
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
        files = [("train", self.train), ("val", self.val), ("test", self.test)]
        return [(key, name) for key, name in files if name is not None and not expand(name).exists()]

    def problems(self) -> list[tuple[str, str]]:
        problems = [(key, f"no such file: {str(expand(name))!r}") for key, name in self._missing()]
        if self.resize is not None and self.resize < (self.size or self.resize + 1):
            said = f"must be at least size, {self.size}; got {self.resize}" if self.size else "needs size"
            problems.append(("resize", said))
        return problems

    def _unset(self) -> dict[str, Any]:
        return {**super()._unset(), "val": None, "size": None, "resize": None}

    def remedies(self) -> list[str]:
        arguments = [f"--set dataset.{key}=/path/to/{key}.parquet" for key, _ in self._missing()]
        return [" ".join(arguments)] if arguments else []


@DATASETS.register("image_parquet", ImageParquetSettings)
def load(settings: ImageParquetSettings) -> Splits:
    """Labelled images in Parquet files (the Hugging Face layout)."""
    refuse(settings.problems())
    named = {"train": settings.train, "val": settings.val, "test": settings.test}
    parts = {split: _read(settings, name) for split, name in named.items() if name is not None}
    if len(parts) > 1:
        check_streams_apart({name: (part.source, np.arange(len(part.labels))) for name, part in parts.items()})
    rows = _dealt(settings, parts)
    of = {name: parts.get(name, parts["train"]) for name in rows}
    fit = _fit(settings, of["train"].source, rows["train"][0])
    splits = {name: _split(of[name], np.array(places, np.int64), fit) for name, places in rows.items()}
    mean, std = settings.statistics
    crop = settings.crop(fit)
    augment = shift_and_flip(0 if crop is not None else settings.shift, settings.flip)
    names = parts["train"].class_names
    train, val, test = splits["train"].cropped(crop), splits["val"], splits.get("test")
    return held(Splits(train, val, test, settings.num_classes, mean, std, augment, names))


@dataclass(frozen=True)
class _Part:
    """The images of one setting, still encoded."""

    source: Source
    labels: np.ndarray
    class_names: tuple[str, ...]


def _dealt(settings: ImageParquetSettings, parts: Mapping[str, _Part]) -> dict[str, list[int]]:
    """Split -> places in its own part, or in the training images where it has none."""
    rows, repeated = once_and_more(parts["train"].source.digests)
    dealt: dict[str, list[int]] = {}
    wanted = {"num_val": settings.num_val if "val" not in parts else 0}
    wanted["num_test"] = settings.num_test or 0 if "test" not in parts else 0
    if sum(wanted.values()) >= len(rows):
        keys = [key for key, number in wanted.items() if number]
        takes = f"{' and '.join(keys) or 'train'} take{'s' if len(keys) < 2 else ''}"
        raise InputError(f"{settings.train} has {counted(len(rows), 'image')}; {takes} {sum(wanted.values())} of them")
    if wanted["num_test"]:
        rows, dealt["test"] = deal(rows, wanted["num_test"], settings.split_seed + 1)
    elif "test" in parts:
        dealt["test"] = list(range(len(parts["test"].labels)))
        if settings.num_test is not None:
            _, dealt["test"] = deal(dealt["test"], settings.num_test, settings.split_seed + 1)
    if wanted["num_val"]:
        rows, dealt["val"] = deal(rows, settings.num_val, settings.split_seed)
    else:
        dealt["val"] = list(range(len(parts["val"].labels)))
        _, rows = deal(rows, len(rows), settings.split_seed)
    return {
        "train": (rows + repeated)[: settings.num_train],
        **{name: places for name, places in dealt.items() if places},
    }


def _fit(settings: ImageParquetSettings, source: Source, place: int) -> Fit:
    if settings.size is not None:
        return CentreCrop(settings.size, settings.size, settings.resize or round(settings.size * 8 / 7))
    width, height = decode_rgb(source.read(place), source.name(place)).size
    return Whole(width, height, "; all images must have the same size, or set size, such as size: 224")


def _split(part: _Part, places: np.ndarray, fit: Fit) -> Split:
    return Split.streamed(Stream(part.source, places, fit), torch.from_numpy(part.labels[places].astype(np.int64)))


def _read(settings: ImageParquetSettings, name: str) -> _Part:
    path = expand(name)
    files = list(map(str, parquet_below(path))) if path.is_dir() else [str(path)]
    if not files:
        raise InputError(f"{path} has no Parquet files")
    read = [_labels(settings, file) for file in files]
    if len({names for _, names in read}) > 1:
        raise InputError(f"the files in {path} have other class names than each other")
    classes = np.concatenate([labels for labels, _ in read])
    if not len(classes):
        raise InputError(f"{path} has no images: its Parquet files have no rows")
    return _Part(rows_of(files, settings.image_column), classes, read[0][1])


def _schema(path: str) -> pa.Schema:
    with naming_rows(path):
        try:
            return pq.read_schema(path)
        except pa.ArrowInvalid as error:
            raise InputError(f"cannot be used: {path} is not a Parquet file: {error}") from None


def _labels(settings: ImageParquetSettings, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The classes in a file whose columns are as they must be, and their names."""
    schema = _schema(path)
    for column in (settings.image_column, settings.label_column):
        if schema.names.count(column) != 1:
            has = "several columns" if column in schema.names else "no column"
            raise InputError(f"{path} has {has} {column!r}; its columns are {', '.join(schema.names)}")
    kind = schema.field(settings.image_column).type
    if not is_encoded(kind):
        what = "must be a struct with a field bytes, of type binary"
        raise InputError(f"{path}: column {settings.image_column!r} {what}; it is {kind}")
    kind = schema.field(settings.label_column).type
    if not pa.types.is_integer(kind):
        raise InputError(f"{path}: column {settings.label_column!r} must be of integers; it is {kind}")
    with naming_rows(path):
        column = pq.ParquetFile(path).read(columns=[settings.label_column]).column(settings.label_column)
    if column.null_count:
        row = column.is_null().index(True)
        raise InputError(f"{path}: row {row} has no label")
    labels = column.to_numpy()
    outside = np.flatnonzero((labels < 0) | (labels >= settings.num_classes))
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{path}: row {row} has label {labels[row]}; num_classes is {settings.num_classes}")
    return labels, _class_names(schema, settings)


def _class_names(schema: Any, settings: ImageParquetSettings) -> tuple[str, ...]:
    """The names that the Hugging Face library stored in the file; empty if there are none that fit."""
    names = names_of(features_of(schema).get(settings.label_column, {}))
    return names if len(names) == settings.num_classes else ()
