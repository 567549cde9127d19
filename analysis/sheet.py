"""The filters of a first layer side by side in one picture, those pruned struck out."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

TILE = 36
"""Pixels of a filter's longer side, about."""
GAP = 4
A_ROW = 16
"""Filters side by side."""
FULL = A_ROW * (TILE + GAP) - GAP
"""Width of a full row, in pixels, about."""
STRUCK = (207, 34, 46)
"""Colour of the cross."""


def sheet(weights_NCHW: np.ndarray, kept_N: Sequence[bool]) -> bytes:
    """A PNG of the filters in the layer's order, grey or in colour, transparent around them.

    All are on one scale, so that small filters look grey.

    N filters of C channels (1 or 3), H x W each; ``kept_N`` says which were kept.
    """
    number, _, height, width = weights_NCHW.shape
    largest = float(np.abs(weights_NCHW).max()) or 1.0
    scale = max(1, TILE // max(height, width))
    high, wide = scale * height + GAP, scale * width + GAP
    page = Image.new("RGBA", (min(number, A_ROW) * wide - GAP, -(-number // A_ROW) * high - GAP))
    for place, (weights_CHW, kept) in enumerate(zip(weights_NCHW, kept_N, strict=True)):
        levels = np.broadcast_to(127.5 + 127.5 * weights_CHW / largest, (3, height, width)).transpose(1, 2, 0)
        tile = Image.fromarray(levels.round().astype(np.uint8))
        tile = tile.resize((wide - GAP, high - GAP), Image.Resampling.NEAREST)
        if not kept:
            pen, (right, bottom) = ImageDraw.Draw(tile), (tile.width - 1, tile.height - 1)
            pen.line((0, 0, right, bottom), STRUCK, 2)
            pen.line((0, bottom, right, 0), STRUCK, 2)
        page.paste(tile, (place % A_ROW * wide, place // A_ROW * high))
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()


def levels_of(png: bytes) -> np.ndarray:
    """(H, W, 4) uint8 of a sheet."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)
