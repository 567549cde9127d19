"""Tiny data sets in files, in the layouts of the large ones; each function returns the settings that read it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits
from raprune.registry import DATASETS
from tests.data.drawn import photo, pixels, png
from tests.data.hub import hugging_face, hugging_face_detection

Builder = Callable[[Path, pytest.MonkeyPatch], dict[str, Any]]


def annotation(seed: int, height: int, width: int, num_classes: int, void: int) -> np.ndarray:
    """Every class somewhere and some void, in blocks of 4x4 pixels."""
    rng = np.random.default_rng(seed)
    values = np.array([*range(num_classes), void], dtype=np.uint8)
    blocks = rng.permutation(np.resize(values, (height // 4 + 1) * (width // 4 + 1)))
    return np.kron(blocks.reshape(height // 4 + 1, -1), np.ones((4, 4), np.uint8))[:height, :width]


def save_palette(labels: np.ndarray, file: Path) -> None:
    image = Image.fromarray(labels).convert("P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    assert (np.asarray(image) == labels).all()
    image.save(file)


def cut(file: Path) -> None:
    """Leave half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def write_parquet(
    file: Path, images: list[bytes], labels: list[int] | list[int | None], metadata: dict[str, str] | None = None
) -> None:
    column = pa.array([{"bytes": image, "path": None} for image in images])
    table = pa.table({"img": column, "label": pa.array(labels)})
    pq.write_table(table.replace_schema_metadata(metadata), file)


def image_parquet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, number, seed in (("train", 40, 0), ("test", 12, 1)):
        write_parquet(
            folder / f"{name}.parquet", [png(i) for i in pixels(number, seed)], [i % 10 for i in range(number)]
        )
    return {"train": str(folder / "train.parquet"), "test": str(folder / "test.parquet"), "num_val": 15}


def cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The layout of torchvision, with a few images in each batch; their checksums are taken as right."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for seed, name in enumerate(["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]):
        data = pixels(8, seed).transpose(0, 3, 1, 2).reshape(8, -1)
        (batches / name).write_bytes(pickle.dumps({"data": data, "labels": [i % 10 for i in range(8)]}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    return {"root": str(folder), "download": False, "num_val": 15}


def image_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two classes of 12 images of different sizes; no folders of splits."""
    class_folders(folder, 12)
    return {"root": str(folder), "size": 24, "resize": 28, "num_val": 8, "num_test": 6, "shift": 2}


def class_folders(folder: Path, number: int, seed: int = 0) -> None:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(number):
            image = photo(seed + 1000 * label + i, 30 + i % 5, 40 - i % 3)
            image.save(folder / name / f"{i:02}.{'jpg' if i % 2 else 'png'}")


def voc_segmentation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_voc(folder / "VOCdevkit" / "VOC2012")
    return {"root": str(folder), "size": 48, "num_val": 3}


def write_voc(voc: Path, num_train: int = 8, num_test: int = 4) -> None:
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / name).mkdir(parents=True, exist_ok=True)
    names = [f"2007_{i:06}" for i in range(num_train + num_test)]
    for i, name in enumerate(names):
        height, width = 33 + i, 48 - i
        photo(i, height, width).save(voc / "JPEGImages" / f"{name}.jpg")
        save_palette(annotation(i, height, width, 21, 255), voc / "SegmentationClass" / f"{name}.png")
    for split, listed in (("train", names[:num_train]), ("val", names[num_train:])):
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(listed) + "\n")


def camvid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """With list files for train and val, and test folders without one."""
    for split, number in (("train", 7), ("val", 3), ("test", 2)):
        write_camvid(folder, split, number)
    (folder / "test.txt").unlink()
    return {"root": str(folder)}


def write_camvid(folder: Path, split: str, number: int) -> None:
    lines = []
    for name in (split, f"{split}annot"):
        (folder / name).mkdir()
    for i in range(number):
        name = f"{split}_{i:05}.png"
        photo(sum(map(ord, name)) * 100 + i, 32, 40).save(folder / split / name)
        Image.fromarray(annotation(i, 32, 40, 11, 11)).save(folder / f"{split}annot" / name)
        lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}")
    (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")


def torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """FashionMNIST in its own format, with 28x28 pixels, a few images in each split."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, number, seed in (("train", 40, 0), ("t10k", 12, 1)):
        images = pixels(number, seed)[:, :28, :28, 0]
        sizes = b"".join(size.to_bytes(4, "big") for size in images.shape)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
        labels = bytes(i % 10 for i in range(number))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + number.to_bytes(4, "big") + labels)
    return {"dataset": "FashionMNIST", "root": str(folder), "num_val": 15}


def coco_detection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two categories, whose numbers leave a gap; images of different sizes, one without a box."""
    write_coco(folder, "train", 12)
    write_coco(folder, "test", 5, seed=100)
    places = {"images": "train", "annotations": "train.json", "test_images": "test", "test_annotations": "test.json"}
    return {key: str(folder / name) for key, name in places.items()} | {"size": 40, "num_val": 4, "shift": 3}


def write_coco(folder: Path, name: str, number: int, seed: int = 0) -> None:
    (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for i in range(number):
        width, height = 48 - i, 33 + i
        photo(seed + i, height, width).save(folder / name / f"{i:06}.jpg")
        images.append({"id": 10 + i, "file_name": f"{i:06}.jpg", "width": width, "height": height})
        for j in range(i % 3):
            box = [2.5 * j, 3 + i, 12.5, 9]
            annotations.append({"image_id": 10 + i, "category_id": (2, 5)[j], "bbox": box, "iscrowd": int(i == 8)})
    categories = [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(document))


def voc_detection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_voc_boxes(folder / "VOCdevkit" / "VOC2012")
    return {"root": str(folder), "size": 48, "num_val": 4, "shift": 3}


def write_voc_boxes(voc: Path, num_train: int = 10, num_test: int = 6) -> None:
    """Every class somewhere."""
    from raprune.plugins.datasets.voc_detection import CLASS_NAMES

    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / name).mkdir(parents=True, exist_ok=True)
    names = [f"2007_{i:06}" for i in range(num_train + num_test)]
    for i, name in enumerate(names):
        height, width = 33 + i, 48 - i
        photo(i, height, width).save(voc / "JPEGImages" / f"{name}.jpg")
        objects = "".join(
            f"<object><name>{CLASS_NAMES[1 + (i * 7 + j) % 20]}</name><difficult>{int(j == 3)}</difficult>"
            f"<bndbox><xmin>{1 + j}</xmin><ymin>2</ymin><xmax>{20 + j}.5</xmax><ymax>{12 + j}</ymax></bndbox></object>"
            for j in range(7)
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        (voc / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    for split, listed in (("train", names[:num_train]), ("val", names[num_train:])):
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(listed) + "\n")


TINY: dict[str, Builder] = {
    builder.__name__: builder
    for builder in (
        image_parquet,
        cifar10,
        image_folder,
        voc_segmentation,
        camvid,
        torchvision,
        hugging_face,
        coco_detection,
        hugging_face_detection,
        voc_detection,
    )
}
"""Data set -> settings of a tiny one, made in a folder."""
MISSING: dict[str, dict[str, Any]] = {
    "image_parquet": {"train": "$NO_SUCH_FOLDER/train.parquet", "test": "/no/such/test.parquet"},
    "cifar10": {"root": "/no/such/folder", "download": False},
    "image_folder": {"root": "/no/such/folder"},
    "voc_segmentation": {"root": "/no/such/folder"},
    "camvid": {"root": "/no/such/folder"},
    "torchvision": {"dataset": "FashionMNIST", "root": "/no/such/folder"},
    "hugging_face": {"path": "/no/such/folder"},
    "coco_detection": {"images": "/no/such/folder", "annotations": "/no/such/boxes.json"},
    "hugging_face_detection": {"path": "/no/such/folder"},
    "voc_detection": {"root": "/no/such/folder"},
}
"""Data set -> settings that name files which are not there."""


def load(name: str, settings: dict[str, Any]) -> Splits:
    """A data set by its name."""
    found: Splits = DATASETS.build(name, settings)
    return found


def refused(name: str, settings: dict[str, Any]) -> str:
    """The sentence that refuses a data set."""
    with pytest.raises(InputError) as caught:
        load(name, settings)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said
