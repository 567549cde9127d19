"""Image Parquet: pixels, splits and class names as they are in the files; bad files are refused by name and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits
from raprune.registry import DATASETS
from tests.data.files import image_parquet, pixels, png, write_parquet


def load(settings: dict[str, Any]) -> Splits:
    found: Splits = DATASETS.build("image_parquet", settings)
    return found


def refused(settings: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        load(settings)
    return str(caught.value)


def identities(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_val": 40}, "40 images; num_val takes 40"),
        ({"num_val": 30, "num_test": 10, "test": None}, "40 images; num_val and num_test take 40"),
        ({"image_column": "image"}, "train.parquet has no column 'image'"),
        ({"label_column": "fine_label"}, "train.parquet has no column 'fine_label'"),
        ({"image_column": "label"}, "train.parquet: column 'label' must be a struct with a field bytes; it is int64"),
        ({"label_column": "img"}, "train.parquet: column 'img' must be of integers; it is struct"),
        ({"num_classes": 5}, "train.parquet: row 5 has label 5; num_classes is 5"),
    ],
)
def test_settings_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    assert message in refused({**image_parquet(tmp_path, monkeypatch), **change})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([b"no image", png(pixels(1, 0)[0])], "train.parquet: the image in row 0 cannot be decoded"),
        ([b"", png(pixels(1, 0)[0])], "train.parquet: the image in row 0 cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0])[:100]], "train.parquet: the image in row 1 cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0][:16])], "all images must have the same size"),
    ],
)
def test_bad_images(tmp_path: Path, images: list[bytes], message: str) -> None:
    write_parquet(tmp_path / "train.parquet", images, [0, 1])
    assert message in refused({"train": str(tmp_path / "train.parquet"), "num_val": 1})


def test_a_missing_label(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(image) for image in pixels(3, 0)], [0, 1, None])
    message = f"{tmp_path}/train.parquet: row 2 has no label"
    assert refused({"train": str(tmp_path / "train.parquet"), "num_val": 1}) == message


def test_a_test_image_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = image_parquet(tmp_path, monkeypatch)
    write_parquet(tmp_path / "test.parquet", [png(pixels(1, 9)[0]), png(pixels(1, 9)[0][:16])], [0, 1])
    assert f"{tmp_path}/test.parquet: row 1 has 32x16 pixels, others 32x32" in refused(settings)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"no Parquet file")
    assert f"{tmp_path}/train.parquet is not a Parquet file" in refused({"train": str(tmp_path / "train.parquet")})


def test_splits_that_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = image_parquet(tmp_path, monkeypatch)
    write_parquet(tmp_path / "test.parquet", [png(pixels(1, 9)[0]), png(pixels(40, 0)[7])], [0, 1])
    expected = f"row 1 of {tmp_path}/test.parquet (test) is the same image as row 7 of {tmp_path}/train.parquet (train)"
    assert refused(settings) == f"splits overlap: {expected}"


def test_the_pixels_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = load(image_parquet(tmp_path, monkeypatch))
    assert splits.test is not None
    assert torch.equal(splits.test.images_BCHW, torch.from_numpy(pixels(12, 1)).permute(0, 3, 1, 2))
    assert splits.test.labels_B.tolist() == [i % 10 for i in range(12)]
    written = torch.from_numpy(pixels(40, 0)).permute(0, 3, 1, 2)
    for split, number in ((splits.train, 25), (splits.val, 15)):
        assert len(split) == number
        for image, label in zip(split.images_BCHW, split.labels_B, strict=True):
            (row,) = (written == image).flatten(1).all(1).nonzero().flatten().tolist()
            assert int(label) == row % 10


def test_num_test_with_and_without_a_test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = image_parquet(tmp_path, monkeypatch)
    cut_down = load({**settings, "num_test": 5})
    dealt = load({**settings, "num_test": 5, "test": None})
    whole = load(settings)
    assert cut_down.test is not None
    assert dealt.test is not None
    assert whole.test is not None
    assert len(cut_down.test) == len(dealt.test) == 5
    assert identities(cut_down.test.images_BCHW) < identities(whole.test.images_BCHW)
    parts = [identities(split.images_BCHW) for split in (dealt.train, dealt.val, dealt.test)]
    assert [len(part) for part in parts] == [20, 15, 5]
    assert set.union(*parts) == {np.moveaxis(image, 2, 0).tobytes() for image in pixels(40, 0)}
    assert torch.equal(cut_down.val.images_BCHW, whole.val.images_BCHW)


@pytest.mark.parametrize(("num_classes", "expected"), [(3, ("ant", "bee", "cat")), (4, ())])
def test_class_names_of_the_hugging_face_library(tmp_path: Path, num_classes: int, expected: tuple[str, ...]) -> None:
    features = {"label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write_parquet(tmp_path / "train.parquet", [png(image) for image in pixels(4, 0)], [0, 1, 2, 0], metadata)
    found = load({"train": str(tmp_path / "train.parquet"), "num_val": 1, "num_classes": num_classes})
    assert found.class_names == expected


def test_real_jpegs(data_root: Path) -> None:
    splits = load({"train": str(data_root / "cifar10" / "test.parquet"), "num_val": 1000})
    assert (len(splits.train), len(splits.val), splits.test) == (4000, 1000, None)
    assert splits.input_shape == (3, 32, 32)
    assert torch.bincount(splits.train.labels_B).min() > 300
    assert splits.class_names[3] == "cat"
