"""Scenes of scikit-learn's real digits on textured backgrounds, with a label per pixel and a box around each digit.

A scene is divided into square cells. Each digit loses its empty margins, is scaled to a random size and laid over the
darker background at a random place in a cell of its own. Pixels with at least 0.3 of the full ink belong to the digit,
a rim with a little less is void, the rest is background; the box encloses the digit's pixels. Each digit has its own
mean hue, but hues vary so widely that neighbours (1 and 2, 9 and 0) look alike: colour is learned quickly, but only
shape separates all classes.

Shapes: B scenes, C channels, H x W pixels, N boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from raprune.plugins.datasets.base import VOID, Split, Splits, shift_and_flip, split_train_val
from raprune.plugins.datasets.boxes import Box
from raprune.plugins.datasets.handwriting import handwritten_digits
from raprune.registry import Settings

Cell = tuple[int, int, int]
"""Top, left and side, pixels."""
CLASS_NAMES = ("background", *"0123456789")
MEAN, STD = (0.40, 0.40, 0.40), (0.20, 0.20, 0.20)
"""Of each channel, on a scale of 0 to 1."""
FULL_INK = 16.0
INK, RIM = 0.3, 0.2
"""Least ink of a pixel that belongs to the digit, and of one that is void."""
OF_EACH_SPLIT = 0.2
"""Share of all digits set aside for the scenes of val, and as many for test; train's scenes use the others."""
SMALLEST = 8
"""Side of a cell, pixels."""
MAX_STRETCH = 1.5
"""Largest stretch of a digit's width relative to its height, so that ones stay narrow."""
HUE_SPREAD = 0.06
"""Standard deviation of a digit's hue, as a share of the colour circle; the digits' mean hues are 0.1 apart."""
SATURATION = 0.6
NOISE = 0.03
"""Standard deviation of the noise on each value of a scene, on a scale of 0 to 1."""
TEXTURES = (2, 5, 16)
"""Blobs along one side of the image, for each layer of the background."""


class SceneSettings(Settings):
    """Settings of every data set of scenes."""

    size: int = Field(default=64, ge=16, le=512)
    """Height and width of a scene, in pixels."""
    digits: int = Field(default=4, ge=1, le=64)
    """Digits in a scene."""
    num_train: int = Field(default=300, ge=1)
    """Training scenes."""
    num_val: int = Field(default=100, ge=1)
    """Validation scenes; their digits are in no training scene."""
    num_test: int = Field(default=100, ge=1)
    """Test scenes; their digits are in no other scene."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for splitting the digits and drawing the scenes."""
    shift: int = Field(default=4, ge=0)
    """Shift training scenes by up to this many pixels."""

    def problems(self) -> list[tuple[str, str]]:
        least = SMALLEST * _cells(self.digits)
        if self.size < least:
            return [("size", f"must be at least {least} for {self.digits} digits; got {self.size}")]
        return []


def as_splits(settings: SceneSettings, splits: Mapping[str, Split]) -> Splits:
    """The data set: its three splits with what all data sets of scenes have."""
    return Splits(
        splits["train"],
        splits["val"],
        splits["test"],
        num_classes=len(CLASS_NAMES),
        mean=MEAN,
        std=STD,
        augment=shift_and_flip(settings.shift, flip=False) if settings.shift else None,
        class_names=CLASS_NAMES,
    )


@dataclass(frozen=True)
class Scenes:
    """The scenes of one split."""

    images_BCHW: Tensor
    """uint8."""
    labels_BHW: Tensor
    """uint8: the digit plus one, 0 for the background, ``VOID`` for a digit's rim."""
    boxes: list[list[Box]]
    """The boxes of each scene, as rows of labels (``boxes.py``)."""


def draw_scenes(settings: SceneSettings, fewest: int | None = None) -> dict[str, Scenes]:
    """The scenes of train, val and test, whose digits differ.

    ``fewest``: each scene has from this many digits to ``settings.digits``; without it, that many.
    """
    images_NHW, labels_N = handwritten_digits()
    ink = torch.tensor(images_NHW / FULL_INK, dtype=torch.float32)
    every = Split(ink, torch.tensor(labels_N, dtype=torch.int64))
    num_held = int(OF_EACH_SPLIT * len(every))
    rest, test = split_train_val(every, num_held, settings.split_seed)
    train, val = split_train_val(rest, num_held, settings.split_seed + 1)
    rng = np.random.default_rng(settings.split_seed)
    numbers: Mapping[str, tuple[Split, int]] = {
        "train": (train, settings.num_train), "val": (val, settings.num_val), "test": (test, settings.num_test),
    }  # fmt: skip
    return {name: _scenes(digits, number, settings, fewest, rng) for name, (digits, number) in numbers.items()}


def _cells(digits: int) -> int:
    """Cells along a side of a scene."""
    return math.ceil(math.sqrt(digits))


def _scenes(
    digits: Split, number: int, settings: SceneSettings, fewest: int | None, rng: np.random.Generator
) -> Scenes:
    size = settings.size
    images_BCHW = torch.empty((number, 3, size, size), dtype=torch.uint8)
    labels_BHW = torch.zeros((number, size, size), dtype=torch.uint8)
    boxes: list[list[Box]] = []
    ink_BHW, classes = digits.images_BCHW.numpy(), digits.labels_B.tolist()
    for scene in range(number):
        image_CHW, labels_HW = _texture(size, rng), labels_BHW.numpy()[scene]
        chosen = _choose(len(digits), settings, fewest, rng)
        boxes.append([_draw(ink_BHW[index], classes[index], cell, image_CHW, labels_HW, rng) for index, cell in chosen])
        image_CHW += rng.normal(0, NOISE, image_CHW.shape)
        images_BCHW.numpy()[scene] = (255 * image_CHW).round().clip(0, 255)
    return Scenes(images_BCHW, labels_BHW, boxes)


def _choose(
    num_digits: int, settings: SceneSettings, fewest: int | None, rng: np.random.Generator
) -> list[tuple[int, Cell]]:
    """The digits of a scene, each with its cell."""
    along = _cells(settings.digits)
    side = settings.size // along
    number = settings.digits if fewest is None else int(rng.integers(fewest, settings.digits, endpoint=True))
    cells = rng.permutation(along**2)[:number].tolist()
    chosen = rng.integers(num_digits, size=number).tolist()
    corners = [(cell // along * side, cell % along * side) for cell in cells]
    return [(index, (top, left, side)) for index, (top, left) in zip(chosen, corners, strict=True)]


def _draw(
    ink_HW: np.ndarray, digit: int, cell: Cell, image_CHW: np.ndarray, labels_HW: np.ndarray, rng: np.random.Generator
) -> Box:
    """Lay a digit over its cell in the image and in the labels; returns its box."""
    top, left, side = cell
    ink_HW = _trim(ink_HW)
    height, width = rng.integers(math.ceil(0.8 * side), side, size=2, endpoint=True).tolist()
    width = min(width, round(MAX_STRETCH * height * ink_HW.shape[1] / ink_HW.shape[0]))
    top, left = top + int(rng.integers(side - height + 1)), left + int(rng.integers(side - width + 1))
    area = slice(top, top + height), slice(left, left + width)
    ink_HW = _resize(ink_HW, height, width)
    image_CHW[:, *area] += ink_HW * (_colour(digit, rng) - image_CHW[:, *area])
    labels_HW[area][ink_HW >= RIM] = VOID
    labels_HW[area][ink_HW >= INK] = digit + 1
    rows, columns = (np.flatnonzero((ink_HW >= INK).any(axis)) for axis in (1, 0))
    height, width = labels_HW.shape
    left, right = (int(left + column) / width for column in (columns[0], columns[-1] + 1))
    top, bottom = (int(top + row) / height for row in (rows[0], rows[-1] + 1))
    return digit + 1, left, top, right, bottom, 0


def _colour(digit: int, rng: np.random.Generator) -> np.ndarray:
    """(3, 1, 1): a bright colour whose hue is near the digit's own."""
    hue = digit / 10 + rng.normal(0, HUE_SPREAD)
    sector_C = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    colour_C: np.ndarray = 1 - SATURATION * np.minimum(sector_C, 4 - sector_C).clip(0, 1)
    return colour_C[:, None, None]


def _trim(ink_HW: np.ndarray) -> np.ndarray:
    """The ink without the empty rows and columns around it."""
    rows, columns = (np.flatnonzero(ink_HW.any(axis)) for axis in (1, 0))
    return ink_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """(3, size, size) from 0 to 0.5: a colour with coarse and fine blobs."""
    texture_CHW = np.repeat(0.2 * rng.random((3, 1, 1)), size, 1).repeat(size, 2)
    for blobs in TEXTURES:
        texture_CHW += [_resize(layer_HW, size, size) for layer_HW in 0.1 * rng.random((3, blobs, blobs))]
    return texture_CHW


def _resize(values_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    image = Image.fromarray(values_HW.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
