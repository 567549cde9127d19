"""Image files with boxes, resized to one size; an unusable file or box is refused with an error that names it.

Boxes are for the pixels as they are stored, as in COCO's and VOC's own tools: an EXIF orientation is not applied.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from raprune.errors import InputError
from raprune.plugins.datasets.base import Split
from raprune.plugins.datasets.boxes import Box, padded_boxes
from raprune.plugins.datasets.pixels import as_rgb, content, decode, for_each
from raprune.plugins.datasets.reading import room_for
from raprune.plugins.datasets.sources import once_and_more


@dataclass(frozen=True)
class Annotated:
    """An image file and what is in it."""

    file: Path
    size: tuple[int, int] | None
    """Width and height in pixels, as its annotation says; ``None`` where it does not."""
    boxes: tuple[Box, ...]
    """Rows of labels (``boxes.py``) with edges in pixels."""


def pixel_box(label: int, edges: Sequence[object], is_crowd: bool, place: str) -> Box:
    """A row of labels with edges (left, top, right, bottom) in pixels; :class:`InputError` begins with ``place``."""
    numbers = [value for value in edges if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(edges) != 4 or len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise InputError(f"{place}: a box must be four numbers; got {list(edges)!r}")
    return label, *map(float, numbers), float(is_crowd)


def identities(items: Sequence[Annotated]) -> list[tuple[bytes | str, str]]:
    """The content of each file, and its name for messages."""
    return [(content(item.file), str(item.file)) for item in items]


def once_and_more_annotated(items: Sequence[Annotated]) -> tuple[list[Annotated], list[Annotated]]:
    """The images that occur once, and those that occur several times, which only training may see."""
    digests = b"".join(content(item.file)[:16] for item in items)
    once, more = once_and_more(np.frombuffer(digests, np.uint8).reshape(-1, 16))
    return [items[place] for place in once], [items[place] for place in more]


def load_annotated(items: Sequence[Annotated], size: tuple[int, int]) -> Split:
    """The files' images resized to ``size`` (H, W), and their boxes; as :func:`load_boxed`."""
    return load_boxed(len(items), lambda index: (_stored_pixels(items[index]), items[index].boxes), size)


def load_boxed(number: int, item: Callable[[int], tuple[Image.Image, Sequence[Box]]], size: tuple[int, int]) -> Split:
    """Images resized to ``size`` (H, W), whatever their shape, and their boxes as shares of the image.

    ``item`` gives an image in RGB and its boxes, with edges in pixels; it is called from several threads. Boxes are cut
    at the edges of the image; those without an area are left out.
    """
    h, w = size
    images_BCHW = room_for(number, 3, h, w)
    boxes: list[list[Box]] = [[] for _ in range(number)]

    def fill(index: int) -> None:
        image, found = item(index)
        boxes[index] = [shares for box in found if (shares := _as_shares(box, image.size))]
        pixels_HWC = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR))
        images_BCHW.numpy()[index] = pixels_HWC.transpose(2, 0, 1)

    for_each(number, fill)
    return Split(images_BCHW, padded_boxes(boxes))


def _stored_pixels(item: Annotated) -> Image.Image:
    image = decode(item.file, str(item.file))
    if item.size is not None and image.size != item.size:
        ours, theirs = (f"{width}x{height}" for width, height in (image.size, item.size))
        raise InputError(f"{item.file} has {ours} pixels; its annotation says {theirs}")
    return as_rgb(image, str(item.file), upright=False)


def _as_shares(box: Box, size: tuple[int, int]) -> Box | None:
    """``box`` with its edges as shares of an image of ``size``; ``None`` where nothing is left of it."""
    label, *edges, crowd = box
    left, top, right, bottom = (
        float(np.float32(min(max(edge / side, 0.0), 1.0))) for edge, side in zip(edges, size * 2, strict=True)
    )
    return (label, left, top, right, bottom, crowd) if left < right and top < bottom else None
