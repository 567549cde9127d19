"""Labelled images in Parquet files of the Hugging Face layout: a struct column with ``bytes`` and a label column."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from raprune.data import IMAGENET_MEAN, IMAGENET_STD, Split, Splits, shift_and_flip, split_train_val
from raprune.errors import InputError
from raprune.registry import DATASETS, Settings


class ImageParquetSettings(Settings):
    train: str
    """Parquet file of the training images; ``$VARIABLES`` are expanded."""
    test: str | None = None
    """Parquet file of the test images; without it test scores are null."""
    image_column: str = "img"
    """Struct column whose field ``bytes`` holds an encoded image (JPEG, PNG, ...)."""
    label_column: str = "label"
    """Integer column, 0 to num_classes - 1."""
    num_classes: int = Field(default=10, ge=2)
    num_val: int = Field(default=5000, ge=1)
    """Validation images, a seeded part of the training images."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many training images (for a rehearsal)."""
    split_seed: int = Field(default=0, ge=0)
    normalisation: Literal["imagenet", "half"] = "imagenet"
    """Mean and standard deviation of each channel: ImageNet's, or one half of each."""
    shift: int = Field(default=4, ge=0)
    """Training images are shifted by up to this many pixels."""
    flip: bool = True
    """Half of the training images are mirrored."""

    def problems(self) -> list[tuple[str, str]]:
        found = []
        for key, name in (("train", self.train), ("test", self.test)):
            if name is not None and not Path(os.path.expandvars(name)).is_file():
                found.append((key, f"no such file: {os.path.expandvars(name)!r}"))
        return found


@DATASETS.register("image_parquet", ImageParquetSettings)
def load(settings: ImageParquetSettings) -> Splits:
    """Labelled images of one size in Parquet files (the Hugging Face layout), by path."""
    every = _read(settings, settings.train)
    if len(every) <= settings.num_val:
        raise InputError(f"{settings.train} has {len(every)} images; num_val takes {settings.num_val} of them")
    train, val = split_train_val(every, settings.num_val, settings.split_seed)
    if settings.num_train is not None:
        train = train.take(torch.arange(min(settings.num_train, len(train))))
    test = _read(settings, settings.test) if settings.test is not None else None
    half = (0.5,) * train.images_BCHW.shape[1]
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if settings.normalisation == "imagenet" else (half, half)
    return Splits(train, val, test, settings.num_classes, mean, std, shift_and_flip(settings.shift, settings.flip))


def _read(settings: ImageParquetSettings, name: str) -> Split:
    path = os.path.expandvars(name)
    names = pq.read_schema(path).names
    for column in (settings.image_column, settings.label_column):
        if column not in names:
            raise InputError(f"{path}: has no column {column!r} (it has {', '.join(names)})")
    table = pq.read_table(path, columns=[settings.image_column, settings.label_column])
    encoded = table.column(settings.image_column).combine_chunks().field("bytes")
    images = [_decode(path, row, data.as_py()) for row, data in enumerate(encoded)]
    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        raise InputError(f"{path}: images must all have one size; found {sorted(sizes)[:3]}")
    labels = table.column(settings.label_column).to_numpy()
    outside = np.flatnonzero((labels < 0) | (labels >= settings.num_classes))
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{path}: row {row} has label {labels[row]}; num_classes is {settings.num_classes}")
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Split(pixels, torch.from_numpy(labels.astype(np.int64)))


def _decode(path: str, row: int, data: bytes | None) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data or b"")) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: the image in row {row} cannot be decoded: {error}") from None
