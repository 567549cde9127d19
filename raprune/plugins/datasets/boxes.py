"""Boxes among labels: (B, N, 6) float32, at most N boxes per image; images with fewer have empty rows.

Edges are shares of the image's width and height, so that boxes keep their values where an image is resized, whether or
not its sides keep their ratio. So does the overlap of two boxes, relative to their areas.

Shapes: B images per batch, N rows for boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BOX_COLUMNS = ("class", "left", "top", "right", "bottom", "crowd")
"""A box: its class, from 1 on (0 is the background); its edges, from 0 to 1; and whether it is a crowd (1), a region of
objects that nobody counted: what a network finds there is neither right nor wrong. The class of an empty row is
``NO_BOX``."""
NO_BOX = -1
MIN_VISIBLE = 0.3
"""Share of a box that must be left in a shifted image."""

Box = Sequence[float]
"""One row of labels."""


def padded_boxes(boxes: Sequence[Sequence[Box]]) -> Tensor:
    """(B, N, 6): the boxes of each image, padded with empty rows; at least one row."""
    most = max(1, *map(len, boxes)) if boxes else 1
    labels_BN6 = torch.zeros((len(boxes), most, len(BOX_COLUMNS)))
    labels_BN6[..., 0] = NO_BOX
    for index, of_image in enumerate(boxes):
        if of_image:
            labels_BN6[index, : len(of_image)] = torch.tensor(of_image)
    return labels_BN6


def boxes_problem(labels_BN6: Tensor, num_classes: int) -> str | None:
    """Why ``labels_BN6`` are no boxes; ``None`` where they are."""
    if labels_BN6.shape[2] != len(BOX_COLUMNS):
        return f"boxes must have the columns {', '.join(BOX_COLUMNS)}; got {labels_BN6.shape[2]} columns"
    classes_BN, edges_BN4, crowd_BN = labels_BN6[..., 0], labels_BN6[..., 1:5], labels_BN6[..., 5]
    is_class_BN = (classes_BN >= 1) & (classes_BN < num_classes) & (classes_BN == classes_BN.round())
    is_crowd_BN = (crowd_BN == 0) | (crowd_BN == 1)
    is_area_BN = (edges_BN4[..., 2:] > edges_BN4[..., :2]).all(2)
    is_inside_BN = ((edges_BN4 >= 0) & (edges_BN4 <= 1)).all(2)
    for is_right_BN, rule in (
        (is_class_BN, f"its class must be from 1 to {num_classes - 1}, or {NO_BOX} for no box; 0 is the background"),
        (is_area_BN & is_inside_BN, "left < right and top < bottom are shares of the image, from 0 to 1"),
        (is_crowd_BN, "its last value must be 1 for a crowd and 0 for one object"),
    ):
        is_wrong_BN = (classes_BN != NO_BOX) & ~is_right_BN
        if is_wrong_BN.any():
            item, row = (int(place) for place in is_wrong_BN.nonzero()[0])
            box = [round(value, 4) for value in labels_BN6[item, row].tolist()]
            return f"item {item} has the box {box}: {rule}"
    return None


def moved_boxes(labels_BN6: Tensor, shift_2B: Tensor, mirrored_B: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes of images that show what lay ``shift_2B`` pixels (down, right) further, then mirrored where asked.

    Boxes are cut at the image's edges; one of which less than ``MIN_VISIBLE`` is left is gone.
    """
    height, width = size
    shift_B12 = torch.stack([shift_2B[1] / width, shift_2B[0] / height], 1)[:, None].to(labels_BN6.dtype)
    whole_BN4 = labels_BN6[..., 1:5] - shift_B12.repeat(1, 1, 2)
    left_BN, top_BN, right_BN, bottom_BN = whole_BN4.unbind(2)
    mirrored_BN4 = torch.stack([1 - right_BN, top_BN, 1 - left_BN, bottom_BN], 2)
    whole_BN4 = torch.where(mirrored_B[:, None, None], mirrored_BN4, whole_BN4)
    edges_BN4 = whole_BN4.clamp(0, 1)
    is_gone_BN = _area(edges_BN4) <= MIN_VISIBLE * _area(whole_BN4)
    moved_BN6 = torch.cat([labels_BN6[..., :1], edges_BN4, labels_BN6[..., 5:]], 2)
    empty_6 = labels_BN6.new_tensor([NO_BOX, 0, 0, 0, 0, 0])
    return torch.where((is_gone_BN | (labels_BN6[..., 0] == NO_BOX))[..., None], empty_6, moved_BN6)


def _area(edges_BN4: Tensor) -> Tensor:
    return (edges_BN4[..., 2:] - edges_BN4[..., :2]).prod(2)
