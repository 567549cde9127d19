"""Boxes of Hugging Face's data sets: every way to store them, what is refused, and a baseline scored on them."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from raprune.baseline.prepare import prepare_baseline
from raprune.plugins.datasets.base import NO_BOX, check_splits
from raprune.plugins.datasets.scenes import CLASS_NAMES
from raprune.study import load_study
from tests.data.drawn import photo
from tests.data.files import coco_detection, load, refused
from tests.data.hub import detection_table, hugging_face_detection

NAME = "hugging_face_detection"


def stored(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def one_image_table(box: Any, label: Any = 0, **how: Any) -> pa.Table:
    """Twelve images of 40x30 pixels, the third of which has a second box, ``box``."""
    good = (1.0, 2.0, 30.0, 20.0, 1)
    objects = [[good, (*box, label)] if index == 2 else [good] for index in range(12)]
    images = [stored(photo(seed, 30, 40)) for seed in range(12)]
    return detection_table(images, objects, **{"names": ["cat", "dog"], **how})


def write(folder: Path, table: pa.Table) -> dict[str, Any]:
    pq.write_table(table, folder / "train.parquet")
    return {"path": str(folder), "size": 32, "num_val": 4}


def edges(labels_BN6: Tensor) -> list[list[float]]:
    return [[round(value, 5) for value in box.tolist()] for box in labels_BN6.flatten(0, 1) if box[0] != NO_BOX]


def test_the_boxes_are_those_of_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "coco").mkdir()
    ours = load(NAME, hugging_face_detection(tmp_path / "hub", monkeypatch))
    theirs = load("coco_detection", coco_detection(tmp_path / "coco", monkeypatch))
    check_splits(ours)
    assert ours.class_names == theirs.class_names == ("background", "cat", "dog")
    assert (len(ours.train), len(ours.val), ours.input_shape) == (8, 4, (3, 40, 40))
    assert ours.test is not None
    assert theirs.test is not None
    assert edges(ours.test.labels_B) == edges(theirs.test.labels_B)
    difference = ours.test.images_BCHW.float() - theirs.test.images_BCHW.float()
    assert difference.abs().mean() < 4  # theirs are JPEG files


@pytest.mark.parametrize("how", [{}, {"as_struct": False}, {"names": None}, {"names": None, "as_struct": False}])
def test_every_way_to_store_objects(tmp_path: Path, how: dict[str, Any]) -> None:
    given = write(tmp_path, one_image_table((0, 0, 40.5, 30, 0), **how))
    splits = load(NAME, given)
    assert splits.class_names == ("background", *(("cat", "dog") if "names" not in how else "01"))
    found = edges(torch.cat([splits.train.labels_B.flatten(0, 1), splits.val.labels_B.flatten(0, 1)])[None])
    assert sorted(found)[0] == [1, 0, 0, 1, 1, 0]  # a rounded edge is cut
    assert len(found) == 13


REFUSED: dict[str, tuple[pa.Table, dict[str, Any], str]] = {
    "edges instead of sizes": (one_image_table((20, 10, 35, 28)), {}, "item 2 of the train split of FOLDER: box 1 is [20, 10, 35, 28], which reaches beyond its image of 40x30 pixels: boxes must be in COCO's form: left, top, width and height, in pixels; outside: cut would cut it at the edge"),
    "left of the image": (one_image_table((-3, 10, 5, 5)), {}, "box 1 is [-3, 10, 5, 5], which reaches beyond its image"),
    "no width": (one_image_table((3, 4, 0, 5)), {}, "box 1 is [3, 4, 0, 5], which has no width or no height: boxes must be in COCO's form"),
    "a negative height": (one_image_table((3, 4, 5, -1)), {}, "box 1 is [3, 4, 5, -1], which has no width or no height"),
    "no number": (one_image_table((3, 4, float("nan"), 1)), {}, "box 1 is [3, 4, nan, 1], which is not four numbers"),
    "a class too high": (one_image_table((3, 4, 5, 5), 2), {}, "item 2 of the train split of FOLDER: box 1 has the category 2; it must be from 0 to 1"),
    "a class below 0": (one_image_table((3, 4, 5, 5), -1), {}, "box 1 has the category -1; it must be from 0 to 1"),
    "no class": (one_image_table((3, 4, 5, 5), None), {}, "box 1 has the category None; it must be from 0 to 1"),
    "no such column": (one_image_table((3, 4, 5, 5)), {"objects_column": "objetcs"}, "has no column 'objetcs'; did you mean 'objects'?"),
    "a column without boxes": (one_image_table((3, 4, 5, 5)), {"objects_column": "image_id"}, "the column 'image_id' of"),
    "no such field": (one_image_table((3, 4, 5, 5)), {"category_field": "categry"}, "the objects in objects have no field 'categry'; did you mean 'category'?"),
    "a field of another type": (one_image_table((3, 4, 5, 5)), {"category_field": "bbox"}, "have classes of type"),
    "too few images": (one_image_table((3, 4, 5, 5)), {"num_val": 12}, "has 12 images; num_val 12 takes them all"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_row(tmp_path: Path, case: str) -> None:
    table, change, message = REFUSED[case]
    assert message.replace("FOLDER", str(tmp_path)) in refused(NAME, {**write(tmp_path, table), **change})


def test_a_box_may_be_cut_at_the_edge(tmp_path: Path) -> None:
    given = {**write(tmp_path, one_image_table((20, 10, 35, 28))), "outside": "cut"}
    splits = load(NAME, given)
    assert [1, 0.5, round(10 / 30, 5), 1, 1, 0] in edges(splits.train.labels_B) + edges(splits.val.labels_B)


def test_a_crowd_and_an_image_without_objects(tmp_path: Path) -> None:
    images = [stored(photo(seed, 30, 40)) for seed in range(12)]
    rows = [{"bbox": [[4.0, 3.0, 20.0, 15.0]] * 2, "label": [0, 4], "iscrowd": [False, True]}, None] * 6
    kind = pa.struct(
        [("bbox", pa.list_(pa.list_(pa.float64()))), ("label", pa.list_(pa.int8())), ("iscrowd", pa.list_(pa.bool_()))]
    )
    pictures = pa.array([{"bytes": image, "path": None} for image in images])
    given = write(tmp_path, pa.table({"image": pictures, "found": pa.array(rows, kind)}))
    splits = load(NAME, given)
    assert splits.class_names == ("background", "0", "1", "2", "3", "4")
    found = edges(splits.train.labels_B) + edges(splits.val.labels_B)
    assert sorted(found) == [[1, 0.1, 0.1, 0.6, 0.6, 0]] * 6 + [[5, 0.1, 0.1, 0.6, 0.6, 1]] * 6


def test_shares_and_files_without_boxes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [stored(photo(seed, 30, 40)) for seed in range(12)]
    shares = write(tmp_path, detection_table(images, [[(0.1, 0.2, 0.5, 0.5, 0)]] * 12, ["cat"]))
    assert "has boxes between 0 and 1, as if they were shares: boxes must be in COCO's form" in refused(NAME, shares)
    assert "no image in" in refused(NAME, write(tmp_path, detection_table(images, [[]] * 12)))
    two = detection_table(images, [[(1, 2, 30, 20, 0)]] * 12, ["cat"])
    lists = {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [0, 1]}
    uneven = two.set_column(2, two.schema.field("objects"), pa.array([lists] * 12, two.schema.field("objects").type))
    said = refused(NAME, write(tmp_path, uneven))
    assert said.startswith("item ")
    assert said.endswith("has not as many boxes (bbox) as classes (category)")
    assert "for the boxes in objects take the data set hugging_face_detection" in refused(
        "hugging_face", {**write(tmp_path, two.drop_columns("image_id")), "size": 32}
    )
    write(tmp_path, two)
    pq.write_table(two.slice(0, 3), tmp_path / "validation.parquet")
    assert "splits overlap: item 0 of the val split" in refused(NAME, {"path": str(tmp_path), "size": 32})


SCENES = {"size": 32, "digits": 1, "num_train": 40, "num_val": 20, "num_test": 10}
STUDY = """
name: boxes
dataset: {name: hugging_face_detection, path: PATH, size: 32, shift: 0, flip: false}
model: {name: small_ssd, width: 0.25}
score: {name: mean_average_precision, candidates: 100, iou: 0.5}
baseline: {epochs: 6, batch_size: 8, learning_rate: 0.05}
drop_bound: 5.0
guard: 0
"""


def scenes() -> dict[str, tuple[list[Image.Image], list[list[tuple[Any, ...]]]]]:
    """Split -> scenes of digits, and the boxes in them in COCO's form."""
    splits = load("digit_boxes", SCENES)
    assert splits.test is not None
    found = {}
    for name, split in (("train", splits.train), ("validation", splits.val), ("test", splits.test)):
        images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in split.images_BCHW]
        boxes = []
        for of_image in split.labels_B.double():
            rows = [row for row in of_image.tolist() if row[0] != NO_BOX]
            boxes.append([(x * 32, y * 32, (r - x) * 32, (b - y) * 32, int(c) - 1) for c, x, y, r, b, _ in rows])
        found[name] = (images, boxes)
    return found


def squares(number: int, seed: int) -> tuple[list[bytes], list[list[tuple[Any, ...]]]]:
    """Images with a blue or a red square, and its box."""
    rng = np.random.default_rng(seed)
    images, boxes = [], []
    for _ in range(number):
        side, kind = int(rng.integers(12, 20)), int(rng.integers(2))
        left, top = (int(place) for place in rng.integers(0, 32 - side, 2))
        pixels = rng.integers(40, 80, (32, 32, 3), dtype=np.uint8)
        pixels[top : top + side, left : left + side] = (230, 60, 60) if kind else (60, 60, 230)
        images.append(stored(Image.fromarray(pixels)))
        boxes.append([(left, top, side, side, kind)])
    return images, boxes


def test_a_baseline_is_trained_and_scored(tmp_path: Path) -> None:
    for name, number, seed in (("train", 64, 0), ("validation", 30, 1), ("test", 20, 2)):
        pq.write_table(detection_table(*squares(number, seed), ["blue", "red"]), tmp_path / f"{name}.parquet")
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.replace("PATH", str(tmp_path)))
    baseline = prepare_baseline(load_study(file).trials[0], tmp_path / "baseline")
    assert baseline.num_val_images == 30
    assert baseline.val_score > 20
    assert baseline.test_score is not None
    assert baseline.test_score > 20


@pytest.mark.parametrize("kind", ["lists", "structs"])
def test_what_the_library_writes_is_read(tmp_path: Path, kind: str) -> None:
    """The real ``datasets``: scenes of digits as ``save_to_disk`` writes them, and as Parquet files."""
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed: pip install datasets")
    box = datasets.Sequence(datasets.Value("float32"), length=4)
    fields = {"bbox": box, "category": datasets.ClassLabel(names=list(CLASS_NAMES[1:]))}
    objects = datasets.Sequence(fields) if kind == "lists" else [fields]
    features = datasets.Features({"image": datasets.Image(), "objects": objects})

    def row(boxes: list[tuple[Any, ...]]) -> Any:
        if kind == "structs":
            return [{"bbox": one[:4], "category": one[4]} for one in boxes]
        return {"bbox": [one[:4] for one in boxes], "category": [one[4] for one in boxes]}

    made = {
        name: datasets.Dataset.from_dict({"image": images, "objects": list(map(row, boxes))}, features=features)
        for name, (images, boxes) in scenes().items()
    }
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "hub").mkdir()
    for name, part in made.items():
        part.to_parquet(str(tmp_path / "hub" / f"{name}.parquet"))
    expected = load("digit_boxes", SCENES)
    for place in ("saved", "hub"):
        splits = load(NAME, {"path": str(tmp_path / place), "size": 32})
        assert splits.class_names == CLASS_NAMES
        for name in ("train", "val", "test"):
            assert torch.equal(splits.split(name).images_BCHW, expected.split(name).images_BCHW)
            assert torch.allclose(splits.split(name).labels_B, expected.split(name).labels_B, atol=1e-6)
