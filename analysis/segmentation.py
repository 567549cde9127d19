"""Label maps and boxes as the ``pictures`` table holds them: PNGs whose palette indices are classes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

import numpy as np
from PIL import Image

VOID = 255
"""The index of pixels without a label."""
MOST_PIXELS = 240
"""Of a picture's longer side on the page."""
FIRST_OF_BOXES = 16
"""The first index that is a class in pictures with boxes."""
Colour = tuple[float, float, float]


def pixels(png: bytes) -> np.ndarray:
    """(H, W, 3) uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def small(png: bytes) -> bytes:
    """The picture, made smaller if it is wider or higher than :data:`MOST_PIXELS`; classes stay classes."""
    with Image.open(io.BytesIO(png)) as image:
        scale = MOST_PIXELS / max(image.size)
        if scale >= 1:
            return png
        size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
        way = Image.Resampling.NEAREST if image.mode == "P" else Image.Resampling.BOX
        file = io.BytesIO()
        image.resize(size, way).save(file, "PNG", optimize=True)
        return file.getvalue()


def classes(maps: Iterable[bytes]) -> dict[str, Colour]:
    """Class names in some maps with their colours, in order, void last; a class without a name goes by its number.

    In pictures with boxes, the indices before ``first_class`` are greys of the image.
    """
    found: dict[int, tuple[str, Colour]] = {}
    for png in maps:
        with Image.open(io.BytesIO(png)) as image:
            names = json.loads(image.info.get("class_names", "[]"))
            palette = image.getpalette() or []
            first = FIRST_OF_BOXES if is_boxes(image) else 0
            for _, index in image.getcolors(256) or []:
                if index >= first:
                    red, green, blue = (value / 255 for value in palette[3 * index : 3 * index + 3])
                    number = int(index) - first
                    found[number] = (_name(number, names), (red, green, blue))
    return {found[index][0]: found[index][1] for index in sorted(found)}


def is_boxes(image: Image.Image) -> bool:
    """Whether a picture has boxes, not a class for each pixel."""
    return "first_class" in image.info


def measure_of(maps: Iterable[bytes]) -> str:
    """What the accuracies of some pictures are."""
    for png in maps:
        with Image.open(io.BytesIO(png)) as image:
            return "F1 of boxes" if is_boxes(image) else "global accuracy"
    return ""


def hex_of(colour: Colour) -> str:
    """``#ff8800`` of a colour whose parts are 0 to 1."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _name(index: int, names: list[str]) -> str:
    if index == VOID:
        return "void"
    return names[index] if index < len(names) else f"class {index}"
