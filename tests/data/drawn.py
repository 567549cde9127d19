"""Images of noise and of colours, for data sets in files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def pixels(number: int, seed: int) -> np.ndarray:
    """Images that all differ, (B, 32, 32, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed: int, height: int, width: int) -> Image.Image:
    """Smooth, as photographs are, so that JPEG changes little; no two seeds give the same."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
