"""How images of any size become images of one size: whole, a crop from the centre, or a random part for training.

Sources: torchvision's ``Resize`` and ``CenterCrop``, and its ``RandomResizedCrop`` (Szegedy et al., Going Deeper with
Convolutions, 2015, section 6). Departure: the numbers that a random part depends on are drawn beforehand, so that
whoever decodes the image gets the same part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from raprune.errors import InputError
from raprune.plugins.datasets.pixels import centre_crop

TRIES = 10
"""Random parts that are tried; the first that lies in the image is taken."""
DRAWS = (TRIES, 4)
"""Uniform numbers that one image needs: area, aspect, top and left of each try."""
ASPECTS = (3 / 4, 4 / 3)
"""Width by height of a random part, from the least to the most."""


@dataclass(frozen=True)
class Whole:
    """All images have this size; others are refused."""

    width: int
    height: int
    remedy: str
    """The end of the message about an image of another size."""

    def __call__(self, image: Image.Image, name: str) -> Image.Image:
        """``image``. Raises :class:`InputError`, which calls it ``name``, if it has another size."""
        if image.size != (self.width, self.height):
            sizes = f"{image.width}x{image.height} pixels, others {self.width}x{self.height}"
            raise InputError(f"{name} has {sizes}{self.remedy}")
        return image


@dataclass(frozen=True)
class CentreCrop:
    """The shorter side is resized to ``resize`` pixels, then ``width`` x ``height`` are cropped from the centre."""

    width: int
    height: int
    resize: int

    def __call__(self, image: Image.Image, name: str) -> Image.Image:
        """The crop of ``image``; ``name`` is not used."""
        del name
        return centre_crop(image, self.resize, self.width)


Fit = Whole | CentreCrop


@dataclass(frozen=True)
class RandomCrop:
    """A random part of the image, resized to ``width`` x ``height`` pixels."""

    width: int
    height: int
    scale: tuple[float, float]
    """Share of the image's area, from the least to the most."""

    def __call__(self, image: Image.Image, draws: Sequence[Sequence[float]]) -> Image.Image:
        """The part that ``draws`` choose, of the shape ``DRAWS``, each in [0, 1)."""
        box = self.box(image.width, image.height, draws)
        return image.crop(box).resize((self.width, self.height), Image.Resampling.BILINEAR)

    def box(self, width: int, height: int, draws: Sequence[Sequence[float]]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom; where no try lies in the image, as much of its centre as has such an aspect."""
        low, high = map(math.log, ASPECTS)
        for area, aspect, top, left in draws:
            pixels = width * height * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + aspect * (high - low))
            w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < w <= width and 0 < h <= height:
                x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
                return x, y, x + w, y + h
        w = min(width, round(height * ASPECTS[1]))
        h = min(height, round(width / ASPECTS[0]))
        x, y = (width - w) // 2, (height - h) // 2
        return x, y, x + w, y + h
