"""Image to image: scikit-learn's digits at 32x32 with Gaussian noise, to be denoised. Needs no download."""

from __future__ import annotations

import torch
from pydantic import Field

from raprune.plugins.datasets.base import Split, Splits, shift_and_flip, split_train_val
from raprune.plugins.datasets.digits import MEAN, STD, enlarged_digits
from raprune.registry import DATASETS, Settings


class NoisyDigitsSettings(Settings):
    num_val: int = Field(default=300, ge=1, le=1000)
    """Validation images, taken from what is left after the test images."""
    num_test: int = Field(default=300, ge=1, le=600)
    """Test images."""
    noise: float = Field(default=50.0, gt=0, le=255)
    """Standard deviation of the noise, in grey levels of 0 to 255."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the noise and for splitting the images into train, val and test."""
    shift: int = Field(default=2, ge=0, le=8)
    """Shift training images, noise included, by up to this many pixels."""


@DATASETS.register("noisy_digits", NoisyDigitsSettings)
def load(settings: NoisyDigitsSettings) -> Splits:
    """1,797 real handwritten digits at 32x32 with Gaussian noise; the label is the clean image; no download."""
    clean_BCHW = enlarged_digits().images_BCHW
    generator = torch.Generator().manual_seed(settings.split_seed)
    noise_BCHW = settings.noise * torch.randn(clean_BCHW.shape, generator=generator)
    noisy_BCHW = (clean_BCHW + noise_BCHW).round().clamp(0, 255).to(torch.uint8)
    rest, test = split_train_val(Split(noisy_BCHW, clean_BCHW), settings.num_test, settings.split_seed)
    train, val = split_train_val(rest, settings.num_val, settings.split_seed + 1)
    augment = shift_and_flip(settings.shift, flip=False) if settings.shift else None
    return Splits(train, val, test, num_classes=1, mean=MEAN, std=STD, augment=augment)
