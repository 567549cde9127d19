"""Every data set: disjoint seeded splits of uint8 images with labels in range, and missing files told before any work.

A new data set that has defaults and needs no files is tested as it is; others say here how to make a tiny one.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raprune.data import Split, Splits, normalise
from raprune.errors import InputError
from raprune.registry import DATASETS, Plugin


def pixels(number: int, seed: int) -> np.ndarray:
    """Images that all differ, (B, 32, 32, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(file: Path, images: list[bytes], labels: list[int]) -> None:
    column = pa.array([{"bytes": image, "path": None} for image in images])
    pq.write_table(pa.table({"img": column, "label": pa.array(labels)}), file)


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


TINY: dict[str, Callable[[Path, pytest.MonkeyPatch], dict[str, Any]]] = {
    "image_parquet": image_parquet,
    "cifar10": cifar10,
}
"""Data set -> settings of a tiny one, made in a folder."""
MISSING: dict[str, dict[str, Any]] = {
    "image_parquet": {"train": "$NO_SUCH_FOLDER/train.parquet", "test": "/no/such/test.parquet"},
    "cifar10": {"root": "/no/such/folder", "download": False},
}
"""Data set -> settings that name files which are not there."""

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in DATASETS])


def load(plugin: Plugin, settings: dict[str, Any]) -> Splits:
    found: Splits = DATASETS.build(plugin.name, settings)
    return found


@pytest.fixture
def settings(plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return TINY[plugin.name](tmp_path, monkeypatch) if plugin.name in TINY else {}


def named(splits: Splits) -> dict[str, Split]:
    found = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: split for name, split in found.items() if split is not None}


@every
def test_images_and_labels(plugin: Plugin, settings: dict[str, Any]) -> None:
    splits = load(plugin, settings)
    channels, height, width = splits.input_shape
    assert len(splits.mean) == len(splits.std) == channels
    assert all(value > 0 for value in splits.std)
    for split in named(splits).values():
        assert split.images_BCHW.dtype == torch.uint8
        assert split.images_BCHW.shape == (len(split), channels, height, width)
        assert split.labels_B.dtype == torch.int64
        assert len(split) == len(split.labels_B) > 0
        assert int(split.labels_B.min()) >= 0
        assert int(split.labels_B.max()) < splits.num_classes
    assert torch.isfinite(normalise(splits.val.images_BCHW[:4], splits)).all()


@every
def test_splits_share_no_image(plugin: Plugin, settings: dict[str, Any]) -> None:
    contents = {
        name: {image.numpy().tobytes() for image in split.images_BCHW}
        for name, split in named(load(plugin, settings)).items()
    }
    assert contents["train"].isdisjoint(contents["val"])
    assert "test" not in contents or contents["test"].isdisjoint(contents["train"] | contents["val"])


@every
def test_same_seed_same_splits(plugin: Plugin, settings: dict[str, Any]) -> None:
    one, other = named(load(plugin, settings)), named(load(plugin, settings))
    for name, split in one.items():
        assert torch.equal(split.images_BCHW, other[name].images_BCHW)
        assert torch.equal(split.labels_B, other[name].labels_B)


@every
def test_another_split_seed_gives_another_val(plugin: Plugin, settings: dict[str, Any]) -> None:
    if "split_seed" not in plugin.settings.model_fields:
        pytest.skip("this data set brings its own val")
    one, other = load(plugin, settings), load(plugin, {**settings, "split_seed": 1})
    assert one.val.images_BCHW.shape == other.val.images_BCHW.shape
    assert not torch.equal(one.val.images_BCHW, other.val.images_BCHW)


@every
def test_augmentation_is_seeded_and_keeps_the_shape(plugin: Plugin, settings: dict[str, Any]) -> None:
    splits = load(plugin, settings)
    images = splits.train.images_BCHW[:8]
    if splits.augment is None:
        pytest.skip("this data set is not augmented")
    first, again = (splits.augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, splits.augment(images, torch.Generator().manual_seed(4)))


@every
def test_missing_files_are_told_before_any_work(plugin: Plugin, settings: dict[str, Any]) -> None:
    check = getattr(plugin.settings, "problems", None)
    if check is None:
        assert plugin.name not in MISSING
        return
    assert check(plugin.settings.model_validate(settings)) == []
    found = check(plugin.settings.model_validate(MISSING[plugin.name]))
    assert found
    for key, message in found:
        assert key in plugin.settings.model_fields
        assert str(MISSING[plugin.name][key]) in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_val": 40}, "40 images; num_val takes 40"),
        ({"image_column": "image"}, "has no column 'image'"),
        ({"label_column": "fine_label"}, "has no column 'fine_label'"),
        ({"num_classes": 5}, "has label 5; num_classes is 5"),
    ],
)
def test_image_parquet_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        DATASETS.build("image_parquet", {**image_parquet(tmp_path, monkeypatch), **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([b"no image", png(pixels(1, 0)[0])], "row 0 cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0])[:100]], "row 1 cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0][:16])], "must all have one size"),
    ],
)
def test_image_parquet_refuses_bad_images(tmp_path: Path, images: list[bytes], message: str) -> None:
    write_parquet(tmp_path / "train.parquet", images, [0, 1])
    with pytest.raises(InputError) as caught:
        DATASETS.build("image_parquet", {"train": str(tmp_path / "train.parquet"), "num_val": 1})
    assert message in str(caught.value)


def test_image_parquet_reads_the_pixels_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits: Splits = DATASETS.build("image_parquet", image_parquet(tmp_path, monkeypatch))
    assert splits.test is not None
    assert torch.equal(splits.test.images_BCHW, torch.from_numpy(pixels(12, 1)).permute(0, 3, 1, 2))
    assert splits.test.labels_B.tolist() == [i % 10 for i in range(12)]


def test_real_jpegs(data_root: Path) -> None:
    settings = {"train": str(data_root / "cifar10" / "test.parquet"), "num_val": 1000}
    splits: Splits = DATASETS.build("image_parquet", settings)
    assert (len(splits.train), len(splits.val), splits.test) == (4000, 1000, None)
    assert splits.input_shape == (3, 32, 32)
    assert torch.bincount(splits.train.labels_B).min() > 300
