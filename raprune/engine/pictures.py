"""The images that pruning changed the most and the least, as PNG: with one label per pixel, or boxes (box_pictures.py).

Shapes: B images a batch, C channels, K classes, H x W pixels.
"""

from __future__ import annotations

import colorsys
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from raprune.plugins.datasets.base import VOID

Batch = tuple[Tensor, Tensor, Tensor, Tensor, int]
"""Images (B, C, H, W), labels (B, H, W) uint8, logits (B, K, H, W) of the baseline and of the pruned network, and
the place of the first image in its split."""

_FIRST_COLOURS = (
    0x0077BB, 0x77FF77, 0x993300, 0x00FFFF, 0x999977, 0x0033BB, 0x770055, 0xBB9900, 0x997799, 0x773333, 0x00FFBB,
    0x33BBDD, 0xBB77FF, 0xDDDD33, 0xDD9955, 0x0055BB, 0x557733, 0x99BBBB, 0x335577, 0x003377, 0xFFBB99, 0x007755,
    0x55BBFF, 0xDD3333,
)  # fmt: skip
"""Each is as far as possible from the earlier ones and from black, to eyes with and without red-green blindness."""


@dataclass(frozen=True)
class Shown:
    """One image with all that its row needs, on the CPU."""

    index: int
    baseline: Fraction
    """How good the baseline's answer is, from 0 to 1."""
    pruned: Fraction
    drawn: Callable[[], dict[str, bytes]]
    """Makes the PNGs of the columns image, label, baseline and pruned."""

    @property
    def change(self) -> Fraction:
        """Positive is better."""
        return self.pruned - self.baseline


def choose_pictures(batches: Iterable[Batch], number: int = 3, class_names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of the ``pictures`` table for labels per pixel, compared by global accuracy on an image's labelled pixels.

    An image without any is left out. The label maps are PNGs with a palette, whose indices are the classes and
    ``VOID``; the classes' names are in their text chunk ``class_names`` (JSON). See :func:`choose`.
    """
    return choose((_pictures(batch, class_names) for batch in batches), number)


def choose(batches: Iterable[Sequence[Shown]], number: int = 3) -> list[dict[str, Any]]:
    """Rows of the ``pictures`` table: up to ``number`` images each that improved, stayed and got worse the most.

    Among equal ones the first in the split comes first. Besides a batch, at most five times ``number`` images are held
    at any time.
    """
    improved: list[Shown] = []
    stayed: list[Shown] = []
    worse: list[Shown] = []
    for new in batches:
        improved = _best(improved + [p for p in new if p.change > 0], number, -1)
        worse = _best(worse + [p for p in new if p.change < 0], number, 1)
        stayed = sorted([*stayed, *new], key=lambda p: (abs(p.change), p.index))[: 3 * number]
    shown = {picture.index for picture in improved + worse}
    stayed = [picture for picture in stayed if picture.index not in shown][:number]
    kinds = {"improved": improved, "stayed": stayed, "worse": worse}
    return [_row(kind, place, picture) for kind, pictures in kinds.items() for place, picture in enumerate(pictures)]


def _best(pictures: list[Shown], number: int, sign: int) -> list[Shown]:
    return sorted(pictures, key=lambda picture: (sign * picture.change, picture.index))[:number]


def _pictures(batch: Batch, class_names: Sequence[str]) -> list[Shown]:
    images_BCHW, labels_BHW, baseline_BKHW, pruned_BKHW, first_index = batch
    labelled_BHW = labels_BHW != VOID
    baseline_BHW, pruned_BHW = (logits.argmax(1).to(torch.uint8) for logits in (baseline_BKHW, pruned_BKHW))
    counts = [labelled_BHW, *((labelled_BHW & (answers == labels_BHW)) for answers in (baseline_BHW, pruned_BHW))]
    numbers = torch.stack([count.sum((1, 2)) for count in counts], 1).tolist()
    image_BCHW, *maps = (values.cpu() for values in (images_BCHW, labels_BHW, baseline_BHW, pruned_BHW))

    def drawn(place: int) -> Callable[[], dict[str, bytes]]:
        image_CHW, own = image_BCHW[place].clone(), [each[place].clone() for each in maps]
        names = ("label", "baseline", "pruned")
        return lambda: {
            "image": png(colours(image_CHW)),
            **{name: _map_png(classes_HW, class_names) for name, classes_HW in zip(names, own, strict=True)},
        }

    return [
        Shown(first_index + place, Fraction(before, pixels), Fraction(after, pixels), drawn(place))
        for place, (pixels, before, after) in enumerate(numbers)
        if pixels
    ]


def _row(kind: str, place: int, picture: Shown) -> dict[str, Any]:
    return {
        "kind": kind,
        "place": place,
        "image_index": picture.index,
        "baseline_global_accuracy": float(100 * picture.baseline),
        "pruned_global_accuracy": float(100 * picture.pruned),
        "change": float(100 * picture.change),
        **picture.drawn(),
    }


def colours(image_CHW: Tensor) -> Image.Image:
    """The first three channels as red, green and blue, or the first as grey; floats are scaled to their own range."""
    if image_CHW.is_floating_point():
        low, high = image_CHW.min(), image_CHW.max()
        image_CHW = (255 * (image_CHW - low) / (high - low).clamp(min=1e-12)).round().to(torch.uint8)
    three_CHW = image_CHW[:3] if len(image_CHW) >= 3 else image_CHW[:1].expand(3, -1, -1)
    return Image.fromarray(np.ascontiguousarray(three_CHW.permute(1, 2, 0).numpy()))


def _map_png(classes_HW: Tensor, class_names: Sequence[str]) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(classes_HW.numpy()))
    image.putpalette([value for colour in PALETTE for value in colour])
    info = PngInfo()
    if class_names:
        info.add_text("class_names", json.dumps(list(class_names)))
    return png(image, info)


def png(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _palette() -> list[tuple[int, int, int]]:
    """256 different colours, the same for a class in every data set; ``VOID`` is black."""
    colours = [(rgb >> 16, rgb >> 8 & 255, rgb & 255) for rgb in _FIRST_COLOURS]
    for number in range(len(colours), VOID):
        hue, lightness = number * 0.618034 % 1, 0.3 + 0.4 * (number * 0.754878 % 1)  # evenly spread, never periodic
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return [*colours, (0, 0, 0)]


PALETTE = _palette()
