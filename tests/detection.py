"""Labels with boxes, and the outputs of detection networks that find them, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from raprune.plugins.datasets.base import NO_BOX
from raprune.plugins.scores.detection_heads import HEADS

ANCHORS = torch.tensor(
    [[x / 4, y / 4, (x + 1) / 4, (y + 1) / 4] for y in range(4) for x in range(4)], dtype=torch.float32
)
"""(16, 4): the cells of a grid."""


def boxes_in_cells(num_images: int, num_boxes: int, num_classes: int) -> Tensor:
    """(B, N, 6): boxes that are cells of the grid; no image has two in one cell."""
    labels = torch.zeros(num_images, num_boxes + 1, 6)
    labels[:, num_boxes, 0] = NO_BOX
    for image in range(num_images):
        for number in range(num_boxes):
            cell = (image + 5 * number) % 16
            labels[image, number, 0] = 1 + (image + number) % (num_classes - 1)
            labels[image, number, 1:5] = ANCHORS[cell]
    return labels


def rows_for(labels: Tensor, num_classes: int, head: str = "ssd", strength: float = 10.0) -> Tensor:
    """(B, A, columns): the outputs of a network that finds exactly the boxes in cells."""
    rows = torch.zeros(len(labels), 16, HEADS[head].num_columns(num_classes))
    rows[..., 4:8] = ANCHORS
    rows[..., 8 : 8 + num_classes] = -strength
    rows[..., 8] = strength
    for image, of_image in enumerate(labels):
        for box in of_image[of_image[:, 0] != NO_BOX]:
            cell = int((ANCHORS - box[1:5]).abs().sum(1).argmin())
            rows[image, cell, 8] = -strength
            rows[image, cell, 8 + int(box[0])] = strength
    return rows
