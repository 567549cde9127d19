"""Pictures of detections: which images are shown, and what is drawn."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from analysis.segmentation import classes, measure_of, small
from raprune.engine.box_pictures import GREYS, box_pictures
from raprune.engine.pictures import PALETTE, choose
from raprune.plugins.datasets.base import NO_BOX
from raprune.registry import SCORES
from tests.detection import boxes_in_cells, rows_for

NAMES = ("background", "cat", "dog")


def rows_of(labels: Tensor, found: Tensor, after: Tensor, **settings: Any) -> list[dict[str, Any]]:
    """Rows of the table for images whose boxes ``found`` the baseline finds, and ``after`` the pruned network."""
    score = SCORES.build("mean_average_precision", settings)
    images = torch.full((len(labels), 3, 60, 80), 128, dtype=torch.uint8)
    batch = images, labels, rows_for(found, 3), rows_for(after, 3), 10
    return choose([box_pictures(batch, score, NAMES)])


def without(labels: Tensor, image: int, *numbers: int) -> Tensor:
    """``labels`` without some boxes of an image."""
    left = labels.clone()
    for number in numbers:
        left[image, number, 0] = NO_BOX
    return left


def test_images_are_compared_by_the_boxes_that_are_right() -> None:
    labels = boxes_in_cells(4, 3, 3)
    found, after = without(labels, 0, 0, 1), without(without(labels, 1, 0), 2, 0, 1, 2)
    rows = {row["image_index"]: row for row in rows_of(labels, found, after)}
    assert {index: row["kind"] for index, row in rows.items()} == {
        10: "improved", 11: "worse", 12: "worse", 13: "stayed",
    }  # fmt: skip
    assert (rows[10]["baseline_global_accuracy"], rows[10]["pruned_global_accuracy"]) == (50.0, 100.0)  # 2 / (3 + 1)
    assert rows[11]["pruned_global_accuracy"] == 80.0  # 4 / (3 + 2)
    assert (rows[12]["place"], rows[12]["change"]) == (0, -100.0)
    assert rows[13]["change"] == 0.0


def test_a_wrong_class_counts_against_and_an_empty_image_may_be_right() -> None:
    labels = boxes_in_cells(2, 1, 3)
    other, empty = labels.clone(), without(labels, 1, 0)
    other[0, 0, 0] = 3 - labels[0, 0, 0]
    rows = {row["image_index"]: row for row in rows_of(empty, empty, without(other, 1, 0))}
    assert rows[10]["pruned_global_accuracy"] == 0.0
    assert (rows[11]["kind"], rows[11]["baseline_global_accuracy"]) == ("stayed", 100.0)


def test_crowds_do_not_count() -> None:
    labels = boxes_in_cells(1, 2, 3)
    labels[0, 1, 5] = 1
    (row,) = rows_of(labels, labels, without(labels, 0, 1))
    assert (row["baseline_global_accuracy"], row["pruned_global_accuracy"]) == (100.0, 100.0)


def test_boxes_have_the_colours_of_their_classes_on_grey() -> None:
    labels = boxes_in_cells(1, 1, 3)
    (row,) = rows_of(labels, labels, without(labels, 0, 0))
    with Image.open(io.BytesIO(row["baseline"])) as image:
        indices, palette = np.asarray(image), image.getpalette() or []
        assert json.loads(image.info["class_names"]) == list(NAMES)
    number = GREYS + int(labels[0, 0, 0])
    assert indices.shape == (180, 240)  # three times as large
    assert set(np.unique(indices)) == {8, GREYS - 1, number}
    assert tuple(palette[3 * number : 3 * number + 3]) == PALETTE[int(labels[0, 0, 0])]
    assert indices[0, 0] == number  # the first cell is at the corner
    assert indices[20, 20] == 8
    with Image.open(io.BytesIO(row["pruned"])) as image:
        assert set(np.unique(np.asarray(image))) == {8}
    maps = [row[name] for name in ("label", "baseline", "pruned")]
    assert list(classes(maps)) == [NAMES[int(labels[0, 0, 0])]]
    assert measure_of(maps) == "F1 of boxes"
    assert classes([row["pruned"]]) == {}
    assert small(row["label"]) == row["label"]


def test_large_images_become_smaller_before_boxes_are_drawn() -> None:
    score, labels = SCORES.build("mean_average_precision", {}), boxes_in_cells(1, 1, 3)
    images, rows = torch.full((1, 3, 450, 900), 128, dtype=torch.uint8), rows_for(labels, 3)
    (row,) = choose([box_pictures((images, labels, rows, rows, 0), score, NAMES)])
    with Image.open(io.BytesIO(row["label"])) as image:
        assert image.size == (240, 120)
        assert np.asarray(image)[0, 0] == GREYS + int(labels[0, 0, 0])


@pytest.mark.parametrize("iou", [None, 0.9])
def test_any_lowest_overlap_may_be_scored(iou: float | None) -> None:
    labels = boxes_in_cells(1, 1, 3)
    moved = labels.clone()
    rows = rows_of(labels, labels, moved, **({} if iou is None else {"iou": iou}))
    assert [row["change"] for row in rows] == [0.0]
