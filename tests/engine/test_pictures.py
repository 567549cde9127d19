"""The pictures of a trial: the right images, their numbers by hand, and PNGs that hold what was drawn.

Shapes: B images, C channels, K classes, H x W pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raprune.engine.pictures import PALETTE, Batch, choose_pictures
from raprune.plugins.datasets.base import VOID
from raprune.results import SCHEMAS

NUM_CLASSES = 3
RIGHT = {0: (5, 5), 1: (5, 9), 2: (8, 2), 3: (4, 6), 4: (7, 6), 5: (0, 0), 6: (9, 9), 7: (9, 3)}
"""Of an image's ten pixels, those that baseline and pruned network get right; 5 has no labelled pixel."""


def logits_of(classes_BHW: Tensor) -> Tensor:
    return F.one_hot(classes_BHW, NUM_CLASSES).movedim(-1, 1).float()


def batches(size: int = 3, channels: int = 3) -> Iterator[Batch]:
    """Images whose number is in their first pixel, of class 1 everywhere; what is wrong is called 2."""
    number = len(RIGHT)
    images = torch.zeros(number, channels, 2, 5, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(number)
    labels = torch.ones(number, 2, 5, dtype=torch.uint8)
    labels[5] = VOID
    found = []
    for which in (0, 1):
        right = torch.tensor([of[which] for of in RIGHT.values()])
        found.append((2 - (torch.arange(10) < right[:, None]).long()).view(number, 2, 5))
    for first in range(0, number, size):
        some = slice(first, first + size)
        yield images[some], labels[some], logits_of(found[0][some]), logits_of(found[1][some]), first


def shown(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    kinds = dict.fromkeys(row["kind"] for row in rows)
    return {kind: [row["image_index"] for row in rows if row["kind"] == kind] for kind in kinds}


def pixels(png: bytes) -> tuple[str, np.ndarray]:
    with Image.open(io.BytesIO(png)) as image:
        return image.mode, np.asarray(image)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_images_that_changed_most_and_least(size: int) -> None:
    rows = choose_pictures(batches(size), number=2)
    # changes in tenths: 0, +4, -6, +2, -1, none, 0, -6; of equals the first
    assert shown(rows) == {"improved": [1, 3], "stayed": [0, 6], "worse": [2, 7]}
    assert [row["place"] for row in rows] == [0, 1] * 3
    first = rows[0]
    assert (first["baseline_global_accuracy"], first["pruned_global_accuracy"], first["change"]) == (50.0, 90.0, 40.0)
    assert rows[4]["change"] == -60.0


def test_no_image_is_shown_twice_nor_as_what_it_is_not() -> None:
    assert shown(choose_pictures(batches(), number=3)) == {"improved": [1, 3], "stayed": [0, 6], "worse": [2, 7, 4]}
    assert shown(choose_pictures(list(batches(1))[1:2], number=3)) == {"improved": [1]}
    assert choose_pictures([]) == []


def test_rows_have_the_columns_of_their_table() -> None:
    rows = choose_pictures(batches(), 1)
    assert ["study", "trial_id", *rows[0]] == SCHEMAS["pictures"].names
    assert rows == choose_pictures(batches(8), 1)


def test_accuracy_is_of_labelled_pixels_alone() -> None:
    images = torch.zeros(1, 3, 1, 4, dtype=torch.uint8)
    labels = torch.tensor([[[1, 0, VOID, VOID]]], dtype=torch.uint8)
    baseline, pruned = torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[1, 0, 2, 2]]])
    (row,) = choose_pictures([(images, labels, logits_of(baseline), logits_of(pruned), 7)])
    assert (row["kind"], row["image_index"]) == ("improved", 7)
    assert (row["baseline_global_accuracy"], row["pruned_global_accuracy"], row["change"]) == (50.0, 100.0, 50.0)
    assert pixels(row["label"])[1].tolist() == [[1, 0, VOID, VOID]]
    assert pixels(row["baseline"])[1].tolist() == [[1, 1, 0, 0]]
    assert pixels(row["pruned"])[1].tolist() == [[1, 0, 2, 2]]


def test_maps_have_one_palette_and_the_names_of_the_classes() -> None:
    (row, *_) = choose_pictures(batches(), 1, class_names=("sky", "road", "car"))
    for column in ("label", "baseline", "pruned"):
        with Image.open(io.BytesIO(row[column])) as image:
            assert image.mode == "P"
            assert json.loads(image.text["class_names"]) == ["sky", "road", "car"]  # type: ignore[attr-defined]
            colours = np.asarray(image.convert("RGB"))
        classes = pixels(row[column])[1]
        assert colours.tolist() == [[list(PALETTE[c]) for c in line] for line in classes]


def test_a_class_has_its_own_colour_and_void_is_black() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 256
    assert PALETTE[VOID] == (0, 0, 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_red_green_and_blue(channels: int) -> None:
    (row, *_) = choose_pictures(batches(channels=channels), 1)
    mode, image = pixels(row["image"])
    assert mode == "RGB"
    assert image.shape == (2, 5, 3)
    assert image[0, 0].tolist() == ([1, 1, 1] if channels == 1 else [1, 0, 0])
