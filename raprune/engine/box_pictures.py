"""Images with the boxes that a detection network finds, as PNG, grey under boxes in the colours of their classes.

Shapes: B images a batch, C channels, N rows of labels, A anchors, D detections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from raprune.engine.pictures import PALETTE, Batch, Shown, colours, png
from raprune.plugins.datasets.base import NO_BOX
from raprune.plugins.scores.mean_average_precision import MeanAveragePrecision

MIN_SCORE = 0.5
"""Detections with a lower score are neither drawn nor counted."""
GREYS = 16
"""The first indices of the palette; those of the classes follow."""
LONG_SIDE = 240
"""Most pixels of the longer side; smaller images are enlarged a whole number of times, before boxes are drawn."""
LINE, EDGE = 2, 1
"""Pixels of a box's line, and of the white one on both sides of it."""
Boxes = list[tuple[int, list[float]]]
"""Class and edges, as shares of the image."""


def box_pictures(batch: Batch, score: MeanAveragePrecision, class_names: Sequence[str]) -> list[Shown]:
    """The images of a batch, compared by the boxes that are right: F1, twice those over all found and all labelled.

    ``batch`` has labels (B, N, 6) and rows (B, A, columns). Where nothing is labelled and nothing is found, F1 is 1.
    Crowds, and what is found in them, do not count.
    """
    images_BCHW, labels_BN6, baseline_BAC, pruned_BAC, first_index = batch
    found = []
    for place, labels_N6 in enumerate(labels_BN6):
        (before, was), (after, now) = (_answer(score, rows[place], labels_N6) for rows in (baseline_BAC, pruned_BAC))
        drawn = _drawn(images_BCHW[place].cpu().clone(), (_labelled(labels_N6), was, now), class_names)
        found.append(Shown(first_index + place, before, after, drawn))
    return found


def _labelled(labels_N6: Tensor) -> Boxes:
    return [(int(row[0]), row[1:5]) for row in labels_N6.tolist() if row[0] != NO_BOX]


def _answer(score: MeanAveragePrecision, rows_AC: Tensor, labels_N6: Tensor) -> tuple[Fraction, Boxes]:
    boxes_D4, scores_D, classes_D, right_D, ignored_D = score.detections(rows_AC, labels_N6)
    is_shown_D = scores_D >= MIN_SCORE
    counted_D = is_shown_D & ~ignored_D
    num_labelled = int(((labels_N6[:, 0] != NO_BOX) & (labels_N6[:, 5] == 0)).sum())
    together = num_labelled + int(counted_D.sum())
    quality = Fraction(2 * int((counted_D & right_D).sum()), together) if together else Fraction(1)
    shown = zip(classes_D[is_shown_D].tolist(), boxes_D4[is_shown_D].tolist(), strict=True)
    return quality, [(int(number), box) for number, box in shown]


def _drawn(image_CHW: Tensor, boxes: Sequence[Boxes], class_names: Sequence[str]) -> Callable[[], dict[str, bytes]]:
    def draw() -> dict[str, bytes]:
        image = colours(image_CHW)
        columns = zip(("label", "baseline", "pruned"), boxes, strict=True)
        return {"image": png(image), **{name: _with_boxes(image, of, class_names) for name, of in columns}}

    return draw


def _with_boxes(image: Image.Image, boxes: Boxes, class_names: Sequence[str]) -> bytes:
    """``image`` in grey with ``boxes``: a PNG whose indices from ``GREYS`` on are classes."""
    grey = image.convert("L")
    if times := LONG_SIDE // max(image.size):
        grey = grey.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    else:
        grey.thumbnail((LONG_SIDE, LONG_SIDE))
    drawn = Image.fromarray((np.asarray(grey) // (256 // GREYS)).astype(np.uint8))
    palette = [*((255 * level // (GREYS - 1),) * 3 for level in range(GREYS)), *PALETTE[: 256 - GREYS]]
    drawn.putpalette([value for colour in palette for value in colour])
    pen, sides = ImageDraw.Draw(drawn), (drawn.width, drawn.height) * 2
    for number, box in boxes:
        left, top, right, bottom = (round(share * (side - 1)) for share, side in zip(box, sides, strict=True))
        right, bottom = max(left, right), max(top, bottom)
        pen.rectangle((left - EDGE, top - EDGE, right + EDGE, bottom + EDGE), outline=GREYS - 1, width=LINE + 2 * EDGE)
        pen.rectangle((left, top, right, bottom), outline=GREYS + number % (256 - GREYS), width=LINE)
    info = PngInfo()
    info.add_text("first_class", str(GREYS))
    if class_names:
        info.add_text("class_names", json.dumps(list(class_names)))
    return png(drawn, info)
