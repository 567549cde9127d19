"""scikit-learn's 1,797 real handwritten digits (8x8, 16 grey levels), enlarged to 32x32. Needs no download."""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn import functional as F

from raprune.plugins.datasets.base import Drawn, Split, Splits, shift_and_flip, split_train_val
from raprune.plugins.datasets.handwriting import handwritten_digits
from raprune.registry import DATASETS, Settings

CLASS_NAMES = tuple("0123456789")
MEAN, STD = (0.305,), (0.350,)
"""Statistics of the enlarged digits, scaled to [0, 1]."""
DRAWN = Drawn(bitmap=32, width=24, cells=8, pen=5.0)
"""As the digits were made: written on paper, scanned to 32x32 bits, which were counted in cells of 4x4. They fill all
eight rows of cells, but six columns at most, and three tenths of the bits are ink."""


class DigitsSettings(Settings):
    num_val: int = Field(default=500, ge=1, le=1000)
    """Validation images, taken from what is left after the test images."""
    num_test: int = Field(default=400, ge=1, le=600)
    """Test images."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for splitting the images into train, val and test."""
    shift: int = Field(default=2, ge=0, le=8)
    """Shift training images by up to this many pixels."""


def enlarged_digits() -> Split:
    """All digits at 32x32, (1797, 1, 32, 32)."""
    images_NHW, labels_N = handwritten_digits()
    grey = torch.tensor(images_NHW, dtype=torch.float32)[:, None] / 16
    large = F.interpolate(grey, size=(32, 32), mode="bilinear", align_corners=False)
    return Split((large * 255).round().to(torch.uint8), torch.tensor(labels_N, dtype=torch.int64))


@DATASETS.register("digits", DigitsSettings)
def load(settings: DigitsSettings) -> Splits:
    """1,797 real handwritten digits at 32x32, from scikit-learn; no download."""
    rest, test = split_train_val(enlarged_digits(), settings.num_test, settings.split_seed)
    train, val = split_train_val(rest, settings.num_val, settings.split_seed + 1)
    augment = shift_and_flip(settings.shift, flip=False) if settings.shift else None
    return Splits(train, val, test, 10, MEAN, STD, augment, CLASS_NAMES, drawn=DRAWN)
