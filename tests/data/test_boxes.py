"""Boxes among labels: read from files, moved with their images, and refused where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from raprune.errors import InputError
from raprune.plugins.datasets.base import NO_BOX, Split, Splits, check_splits, shift_and_flip
from raprune.plugins.datasets.boxes import moved_boxes, padded_boxes
from raprune.registry import DATASETS
from tests.data.drawn import photo
from tests.data.files import coco_detection, voc_detection


def ink(image_HW: Tensor) -> list[float]:
    """The box of what is bright, as shares of the image."""
    rows, columns = (image_HW > 0).any(1).nonzero()[:, 0], (image_HW > 0).any(0).nonzero()[:, 0]
    (height, width) = image_HW.shape
    return [
        int(columns[0]) / width,
        int(rows[0]) / height,
        (int(columns[-1]) + 1) / width,
        (int(rows[-1]) + 1) / height,
    ]


def test_boxes_move_with_their_pixels() -> None:
    images = torch.zeros(40, 3, 32, 24, dtype=torch.uint8)
    images[:, :, 10:20, 6:15] = 255
    labels = padded_boxes([[(3, *ink(images[0, 0]), 0)]] * 40)
    moved, boxes = shift_and_flip(4, flip=True)(images, labels, torch.Generator().manual_seed(0))
    edges = {tuple(box[0, 1:5].tolist()) for box in boxes}
    assert len(edges) > 10
    for image, box in zip(moved, boxes, strict=True):
        assert box[0, 1:5].tolist() == pytest.approx(ink(image[0]))
        assert (int(box[0, 0]), int(box[0, 5])) == (3, 0)


def test_a_box_is_cut_at_the_edge_and_gone_where_little_is_left() -> None:
    labels = padded_boxes([[(1, 0.0, 0.0, 0.5, 0.5, 1)], [(2, 0.0, 0.0, 0.5, 0.5, 0)], []])
    shift = torch.tensor([[0, 0, 0], [2, 4, 4]])  # down, and right: what lay there is shown
    moved = moved_boxes(labels, shift, torch.zeros(3, dtype=torch.bool), (10, 10))
    assert moved[0, 0].tolist() == pytest.approx([1, 0, 0, 0.3, 0.5, 1])
    assert moved[1:, 0, 0].tolist() == [NO_BOX, NO_BOX]


def test_boxes_survive_resizing_and_the_gap_between_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = coco_detection(tmp_path, monkeypatch)
    splits: Splits = DATASETS.build("coco_detection", settings)
    check_splits(splits)
    assert splits.class_names == ("background", "cat", "dog")
    assert (len(splits.train), len(splits.val), splits.input_shape) == (8, 4, (3, 40, 40))
    assert splits.test is not None
    third = splits.test.labels_B[2]  # 46x35 pixels, with a cat and a dog
    assert third[:, 0].tolist() == [1, 2]
    assert third[1, 1:5].tolist() == pytest.approx([2.5 / 46, 5 / 35, 15 / 46, 14 / 35])
    assert splits.test.labels_B[0, :, 0].tolist() == [NO_BOX, NO_BOX]
    by_number: Splits = DATASETS.build("coco_detection", {**settings, "numbering": "ids"})
    assert by_number.class_names == ("background", "no category 1", "cat", "no category 3", "no category 4", "dog")
    assert by_number.test is not None
    assert by_number.test.labels_B[2, :, 0].tolist() == [2, 5]


def test_a_difficult_object_is_a_crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits: Splits = DATASETS.build("voc_detection", voc_detection(tmp_path, monkeypatch))
    check_splits(splits)
    assert splits.val.labels_B[:, :, 5].tolist() == [[0, 0, 0, 1, 0, 0, 0]] * 4
    assert splits.test is not None
    assert splits.test.labels_B[0, 1, 2:].tolist() == pytest.approx([1 / 43, 21.5 / 38, 13 / 43, 0])


def changed(file: Path, part: str, place: int, **values: Any) -> None:
    document = json.loads(file.read_text())
    document[part][place] |= values
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("annotations", {"bbox": [1, 2, 3]}, r"train.json: annotations\[0\]: a box must be four numbers"),
        ("annotations", {"bbox": [1, 2, 3, None]}, r"annotations\[0\]: a box must be four numbers"),
        ("annotations", {"bbox": [1, 2, 3, float("nan")]}, r"annotations\[0\]: a box must be four numbers"),
        ("annotations", {"category_id": 3}, r"annotations\[0\] has the category_id 3, which the file does not have"),
        ("annotations", {"image_id": "10"}, r"annotations\[0\] must have image_id, of type int"),
        ("images", {"file_name": "../secret.jpg"}, "leads out of"),
        ("images", {"file_name": "none.jpg"}, "no such file"),
        ("images", {"width": 20}, "has 48x33 pixels; its annotation says 20x33"),
        ("images", {"id": 11}, "two images have the same id"),
        ("categories", {"name": "cat"}, "names that differ"),
        ("categories", {"id": 0}, "numbers from 1 on"),
    ],
)
def test_a_wrong_coco_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, values: dict[str, Any], message: str
) -> None:
    settings = coco_detection(tmp_path, monkeypatch)
    changed(tmp_path / "train.json", part, 0, **values)
    with pytest.raises(InputError, match=message):
        DATASETS.build("coco_detection", settings)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": 3}', "[" * 100_000, "\x00"])
def test_what_is_no_coco_file_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    settings = coco_detection(tmp_path, monkeypatch)
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(InputError, match=r"train.json (cannot be read as JSON|has no images)"):
        DATASETS.build("coco_detection", settings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<annotation>", '<!DOCTYPE x [<!ENTITY a "b">]><annotation>', "defines a document type"),
        ("</annotation>", "", "cannot be read as XML"),
        ("<xmin>1</xmin>", "<xmin>far left</xmin>", "object 1: a box must be four numbers"),
        ("<xmin>1</xmin>", "<xmin>nan</xmin>", "object 1: a box must be four numbers"),
        ("<name>", "<name>un", "is called 'un.*', which is no class of VOC"),
        ("<width>48</width>", "<width>47</width>", "has 48x33 pixels; its annotation says 47x33"),
    ],
)
def test_a_wrong_voc_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    settings = voc_detection(tmp_path, monkeypatch)
    file = tmp_path / "VOCdevkit" / "VOC2012" / "Annotations" / "2007_000000.xml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        DATASETS.build("voc_detection", settings)


def test_an_image_that_exif_would_turn_stays_as_its_boxes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = coco_detection(tmp_path, monkeypatch)
    file = tmp_path / "test" / "000000.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(100, 33, 48).save(file, exif=exif)
    turned: Splits = DATASETS.build("coco_detection", settings)
    photo(100, 33, 48).save(file)
    stored: Splits = DATASETS.build("coco_detection", settings)
    assert turned.test is not None
    assert stored.test is not None
    assert torch.equal(turned.test.images_BCHW, stored.test.images_BCHW)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 0, 1, 1, 0], "class must be from 1 to 2"),
        ([3, 0, 0, 1, 1, 0], "class must be from 1 to 2"),
        ([1.5, 0, 0, 1, 1, 0], "class must be from 1 to 2"),
        ([1, 0, 0, 1.1, 1, 0], "shares of the image"),
        ([1, 0.5, 0, 0.5, 1, 0], "shares of the image"),
        ([1, 0, float("nan"), 1, 1, 0], "shares of the image"),
        ([1, 0, 0, 1, 1, 2], "1 for a crowd"),
    ],
)
def test_a_wrong_box_of_a_data_set_is_a_sentence(box: list[float], message: str) -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    split = Split(images, padded_boxes([[(1, 0, 0, 1, 1, 0)], [(1, 0, 0, 1, 1, 0), box]]))
    with pytest.raises(InputError, match=f"item 1 has the box .*{message}"):
        check_splits(Splits(split, split, None, 3, (0.5,) * 3, (0.5,) * 3))
