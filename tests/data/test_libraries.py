"""Data sets of torchvision and Hugging Face as they are: pixels, classes, splits, and what is said of those that fail."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raprune.errors import InputError
from tests.data.drawn import pixels
from tests.data.files import class_folders, cut, load, refused, torchvision
from tests.data.hub import FEATURES, hugging_face, hugging_face_table, save_arrow


def test_fashion_mnist_in_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = torchvision(tmp_path, monkeypatch)
    splits = load("torchvision", {**given, "channels": 1, "mean": [0.3], "std": [0.4]})
    assert splits.input_shape == (1, 28, 28)
    assert (splits.mean, splits.std) == ((0.3,), (0.4,))
    assert splits.class_names[0] == "T-shirt/top"
    assert splits.test is not None
    assert np.array_equal(splits.test.images_BCHW[:, 0].numpy(), pixels(12, 1)[:, :28, :28, 0])
    assert splits.test.labels_B.tolist() == [*range(10), 0, 1]
    assert (len(splits.train), len(splits.val)) == (25, 15)
    colour = load("torchvision", given)
    assert colour.test is not None
    assert torch.equal(colour.test.images_BCHW, splits.test.images_BCHW.expand(-1, 3, -1, -1))
    assert len(colour.mean) == 3


def test_a_training_image_equal_to_one_that_is_scored_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = torchvision(tmp_path, monkeypatch)
    file = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    content = file.read_bytes()
    file.write_bytes(content[:16] + content[16 : 16 + 20 * 784] * 2)  # the first 20 images twice
    splits = load("torchvision", given)
    train, val = ({i.numpy().tobytes() for i in part.images_BCHW} for part in (splits.train, splits.val))
    assert train.isdisjoint(val)
    assert len(splits.val) == 15
    assert len(splits.train) < 25


def test_a_class_without_splits_and_images_of_any_size(tmp_path: Path) -> None:
    class_folders(tmp_path, 12)
    given = {"dataset": "ImageFolder", "root": str(tmp_path), "num_val": 8, "num_test": 4}
    said = refused("torchvision", given)
    assert " pixels, others " in said
    assert said.endswith("set size, such as size: 224")
    splits = load("torchvision", {**given, "size": 16})
    assert splits.input_shape == (3, 16, 16)
    assert splits.class_names == ("cat", "dog")
    assert [len(part) for part in (splits.train, splits.val, splits.test or [])] == [12, 8, 4]


def test_a_class_with_named_splits(tmp_path: Path) -> None:
    """SVHN in its MATLAB files: no names of classes, and one split more than is asked for."""
    from scipy.io import savemat

    for name, number in (("train", 30), ("test", 12)):
        images = pixels(number, number)
        savemat(
            tmp_path / f"{name}_32x32.mat",
            {"X": images.transpose(1, 2, 3, 0), "y": [[1 + i % 10] for i in range(number)]},
        )
    with pytest.raises(InputError, match=r"SVHN in .* cannot be used: Dataset not found or corrupted"):
        load("torchvision", {"dataset": "SVHN", "root": str(tmp_path), "num_val": 10})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
        splits = load("torchvision", {"dataset": "SVHN", "root": str(tmp_path), "num_val": 10})
    assert splits.test is not None
    assert torch.equal(splits.test.images_BCHW, torch.from_numpy(pixels(12, 12)).permute(0, 3, 1, 2))
    assert splits.test.labels_B.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert (splits.num_classes, splits.class_names) == (10, ())


TORCHVISION: dict[str, tuple[dict[str, Any], str]] = {
    "a class that is not there": ({"dataset": "FashionMinst"}, "dataset: torchvision.datasets has no class 'FashionMinst'; did you mean 'FashionMNIST'?"),
    "an argument that is not there": ({"arguments": {"splt": "x"}}, "arguments: FashionMNIST has no argument 'splt'"),
    "another folder": ({"dataset": "CIFAR100"}, "cannot be used: Dataset not found"),
    "too few images": ({"num_val": 40}, "the train split of FashionMNIST has 40 images; num_val 40 takes them all"),
    "statistics of another number of channels": ({"mean": [0.1], "std": [0.1]}, "mean has 1 value for channels: 3"),
    "no classes": ({"dataset": "CocoDetection", "arguments": {"annFile": "x"}}, "CocoDetection"),
}  # fmt: skip


@pytest.mark.parametrize("case", TORCHVISION)
def test_what_torchvision_cannot_give_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    change, message = TORCHVISION[case]
    given = {**torchvision(tmp_path, monkeypatch), **change}
    with pytest.raises((InputError, ValueError)) as caught:
        load("torchvision", given)
    assert message in str(caught.value)


def test_a_saved_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = load("hugging_face", hugging_face(tmp_path, monkeypatch))
    assert splits.test is not None
    assert torch.equal(splits.test.images_BCHW, torch.from_numpy(pixels(12, 1)).permute(0, 3, 1, 2))
    assert splits.test.labels_B.tolist() == [*range(10), 0, 1]
    assert splits.class_names == tuple(f"kind {i}" for i in range(10))
    assert (len(splits.train), len(splits.val)) == (25, 15)


def test_one_saved_split(tmp_path: Path) -> None:
    save_arrow(hugging_face_table(40, 0), tmp_path / "one", shards=3)
    splits = load("hugging_face", {"path": str(tmp_path / "one"), "num_val": 10, "num_test": 5})
    assert [len(part) for part in (splits.train, splits.val, splits.test or [])] == [25, 10, 5]


LAYOUTS = {
    "one configuration": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
    "converted": ["default/train/0000.parquet", "default/train/0001.parquet", "default/valid/0000.parquet", "default/test/0000.parquet"],
    "plain names": ["train.parquet", "training_2.parquet", "dev.parquet", "test.parquet"],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parquet_files_of_the_hub(tmp_path: Path, layout: str) -> None:
    for seed, name in enumerate(LAYOUTS[layout]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(hugging_face_table(20, seed), tmp_path / name)
    splits = load("hugging_face", {"path": str(tmp_path)})
    assert splits.test is not None
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [40, 20, 20]
    whole = np.concatenate([pixels(20, 0), pixels(20, 1)])
    assert {i.tobytes() for i in splits.train.images_BCHW.permute(0, 2, 3, 1).numpy()} == {i.tobytes() for i in whole}
    assert torch.equal(splits.val.images_BCHW, torch.from_numpy(pixels(20, 2)).permute(0, 3, 1, 2))


def write(folder: Path, table: pa.Table, name: str = "train.parquet") -> dict[str, Any]:
    pq.write_table(table, folder / name)
    return {"path": str(folder), "num_val": 5}


def test_columns_are_found_by_their_types(tmp_path: Path) -> None:
    splits = load("hugging_face", write(tmp_path, hugging_face_table(20, 0)))
    assert splits.num_classes == 10
    by_number = load("hugging_face", {**write(tmp_path, hugging_face_table(20, 0)), "label_column": "number"})
    assert by_number.num_classes == 20
    undescribed = write(tmp_path, hugging_face_table(20, 0, {}))
    assert "several that may be it (kind, number): name the column" in refused("hugging_face", undescribed)
    assert "has no column 'labl'" in refused("hugging_face", {**undescribed, "label_column": "labl"})
    assert "the column 'kind' of" in refused("hugging_face", {**undescribed, "image_column": "kind"})
    two = {**FEATURES, "number": FEATURES["kind"]}
    assert "several that may be it (kind, number)" in refused(
        "hugging_face", write(tmp_path, hugging_face_table(20, 0, two))
    )


def test_what_is_no_data_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has neither dataset_dict.json, state.json nor Parquet files" in refused(
        "hugging_face", {"path": str(empty)}
    )
    write(empty, hugging_face_table(20, 0), "test.parquet")
    assert "has Parquet files, but none for train" in refused("hugging_face", {"path": str(empty)})
    several = tmp_path / "several"
    for name in ("small", "large"):
        (several / name).mkdir(parents=True)
        write(several / name, hugging_face_table(20, 0))
    assert "several configurations (large, small): name one" in refused("hugging_face", {"path": str(several)})
    assert load("hugging_face", {"path": str(several / "small"), "num_val": 5}).num_classes == 10


HOSTILE: dict[str, tuple[str, str, str]] = {
    "no JSON": ("dataset_dict.json", "{", "is damaged: it is not a JSON object"),
    "no splits": ("dataset_dict.json", '{"splits": 3}', "is damaged: it lists no splits"),
    "other splits": ("dataset_dict.json", '{"splits": ["a"]}', "has no split called train; it has a"),
    "a file elsewhere": ("train/state.json", '{"_data_files": [{"filename": "../../etc/passwd"}]}', "lists no data files"),
    "rows by index": ("train/state.json", '{"_data_files": [{"filename": "a"}], "_indices_files": [{"filename": "b"}]}', "flatten_indices()"),
    "a file that is not there": ("train/state.json", '{"_data_files": [{"filename": "a.arrow"}]}', "a.arrow cannot be read"),
    "no Arrow": ("train/data-00000-of-00002.arrow", "no Arrow stream", "data-00000-of-00002.arrow is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_damaged_folders_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    given = hugging_face(tmp_path, monkeypatch)
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_text(content)
    assert message in refused("hugging_face", given)


def test_bad_items_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = hugging_face_table(20, 0)
    missing = pa.array([{"bytes": None, "path": "/a.png"}] * 20)
    for column, values, message in (
        ("picture", missing, "has no image in it, only the path '/a.png'"),
        ("picture", pa.array([{"bytes": b"no image", "path": None}] * 20), "cannot be decoded"),
        ("kind", pa.array([None] * 20, pa.int64()), "has no class"),
        ("kind", pa.array([-1] * 20), "has the class -1, which marks images without one: leave this split out"),
    ):
        bad = good.set_column(good.schema.names.index(column), column, values)
        assert message in refused("hugging_face", write(tmp_path, bad))
    cut(tmp_path / "train.parquet")
    assert "train.parquet is damaged: " in refused("hugging_face", {"path": str(tmp_path)})


def test_numbers_that_no_class_has_are_told(tmp_path: Path) -> None:
    """Of more classes than have names the highest number would have made classes."""
    good = hugging_face_table(20, 0)
    for values, message in (
        (
            pa.array([*range(10), 10, *range(9)]),
            "item 10 of the train split of {} has the class 10; the data set names 10",
        ),
        (pa.array([2**63 + 1] * 20, pa.uint64()), "{}/train.parquet has numbers in 'kind' that no class has"),
    ):
        bad = good.set_column(good.schema.names.index("kind"), "kind", values)
        assert message.format(tmp_path) in refused("hugging_face", write(tmp_path, bad))
    odd = hugging_face_table(20, 0, {"kind": {"names": 7, "_type": "ClassLabel"}, "picture": {"_type": "Image"}})
    assert load("hugging_face", write(tmp_path, odd)).class_names == ()


def test_an_image_that_is_null_in_an_arrow_file_is_none(tmp_path: Path) -> None:
    """What lies below a null is not looked at."""
    table = hugging_face_table(20, 0)
    images = table.column("picture").combine_chunks()
    fields = [images.field(name) for name in ("bytes", "path")]
    none = pa.StructArray.from_arrays(fields, names=["bytes", "path"], mask=pa.array([True] + [False] * 19))
    save_arrow(table.set_column(table.schema.names.index("picture"), "picture", none), tmp_path / "set")
    said = refused("hugging_face", {"path": str(tmp_path / "set"), "num_val": 5, "label_column": "kind"})
    assert "item 0 of the train split" in said


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    """The real ``datasets``: a dictionary of splits, with their own column types."""
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed: pip install datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})

    def made(number: int, seed: int) -> Any:
        images = [Image.fromarray(image) for image in pixels(number, seed)]
        return datasets.Dataset.from_dict({"image": images, "label": [i % 2 for i in range(number)]}, features=features)

    found = datasets.DatasetDict({"train": made(20, 0), "validation": made(6, 1), "test": made(4, 2)})
    found["train"] = found["train"].select(range(19, -1, -1))
    found.save_to_disk(str(tmp_path / "saved"), num_shards={"train": 2, "validation": 1, "test": 1})
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, part in found.items():
        part.to_parquet(str(tmp_path / "hub" / "data" / f"{name}-00000-of-00001.parquet"))
    saved, hub = (load("hugging_face", {"path": str(tmp_path / name)}) for name in ("saved", "hub"))
    assert json.loads((tmp_path / "saved" / "dataset_dict.json").read_text())["splits"] == list(found)
    for splits in (saved, hub):
        assert splits.class_names == ("no", "yes")
        assert torch.equal(splits.val.images_BCHW, torch.from_numpy(pixels(6, 1)).permute(0, 3, 1, 2))
    assert torch.equal(saved.train.images_BCHW, hub.train.images_BCHW)
