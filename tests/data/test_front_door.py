"""The size and the normalisation of images in files: their own, or what the settings say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits, normalise
from raprune.plugins.datasets.pixels import decode_rgb, upright_size
from raprune.registry import DATASETS
from tests.data.drawn import photo
from tests.data.files import TINY, image_parquet, refused

BASE = {"num_val": 4, "shift": 0, "flip": False}


def folder_of(root: Path, *sizes: tuple[int, int]) -> Path:
    """Sixteen images of two classes, (height, width) in turn."""
    for number in range(16):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        photo(number, *sizes[number % len(sizes)]).save(folder / f"{number:02}.png")
    return root


def load(root: Path, **change: Any) -> Splits:
    found: Splits = DATASETS.build("image_folder", {"root": str(root), **BASE, **change})
    return found


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_images_of_one_size_stay_as_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    splits = load(folder_of(tmp_path, size))
    assert splits.input_shape == (3, *size)
    files = {np.asarray(Image.open(file)).tobytes() for file in tmp_path.rglob("*.png")}
    assert {image.permute(1, 2, 0).numpy().tobytes() for image in splits.train.images_BCHW} < files


def test_images_of_several_sizes_are_cut_as_for_imagenet(tmp_path: Path) -> None:
    assert load(folder_of(tmp_path, (32, 32), (32, 33))).input_shape == (3, 224, 224)
    assert load(tmp_path, size=16).input_shape == (3, 16, 16)
    with pytest.raises(InputError, match="size: is required because resize is 40"):
        load(tmp_path, resize=40)


def test_a_shift_follows_small_images(tmp_path: Path) -> None:
    splits = load(folder_of(tmp_path, (32, 32)), shift=16)
    ramp = torch.arange(32, dtype=torch.uint8).view(1, 1, 1, 32).expand(64, 3, 32, 32).contiguous()
    assert splits.augment is not None
    moved, _ = splits.augment(ramp, torch.zeros(64), torch.Generator().manual_seed(0))
    assert int((moved.int() - ramp.int()).abs().max()) == 4


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        ({"normalisation": "unit"}, 0.0, 1.0),
        ({"normalisation": "none"}, 0.0, 255.0),
        ({"normalisation": "half"}, -1.0, 1.0),
        ({"normalisation": "cifar10"}, -0.4914 / 0.2470, (1 - 0.4914) / 0.2470),
        ({"mean": [0.25, 0.5, 0.75], "std": [0.5, 0.5, 0.5]}, -0.5, 1.5),
        ({}, -0.485 / 0.229, (1 - 0.485) / 0.229),
    ],
)
@pytest.mark.parametrize("name", ["image_folder", "image_parquet"])
def test_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: dict[str, Any], low: float, high: float
) -> None:
    if name == "image_folder":
        splits = load(folder_of(tmp_path, (16, 16)), **change)
    else:
        splits = DATASETS.build(name, {**image_parquet(tmp_path, monkeypatch), **change})
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(normalise(ends, splits)[:, 0, 0, 0], torch.tensor([low, high]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, "std is required where mean is given"),
        ({"mean": [127.5, 127.5, 127.5], "std": [0.5] * 3}, r"not 0 to 255; did you mean \[0\.5, 0\.5, 0\.5\]\?"),
        ({"mean": [0.5] * 3, "std": [0.0] * 3}, "must be above 0"),
        ({"mean": [0.5], "std": [0.5]}, "at least 3 items"),
    ],
)
def test_statistics_that_cannot_be_meant(change: dict[str, Any], message: str) -> None:
    for name, path in (("image_folder", "root"), ("image_parquet", "train")):
        with pytest.raises(ValidationError, match=message):
            DATASETS.get(name).settings.model_validate({path: "x", **change})


def test_settings_that_were_complete_before_keep_their_ids() -> None:
    """What is new is in no dump unless it is set, and resize is what it was for 224 pixels."""
    found = DATASETS.get("image_folder").settings.model_validate({"root": "x", "size": 224}).model_dump(mode="json")
    assert found == {
        "root": "x", "size": 224, "resize": 256, "num_val": 1000, "num_test": None, "num_train": None,
        "split_seed": 0, "shift": 16, "flip": True,
    }  # fmt: skip
    again = DATASETS.get("image_folder").settings.model_validate(found)
    assert again.model_dump(mode="json") == found
    assert "mean" not in DATASETS.get("image_parquet").settings.model_validate({"train": "x"}).model_dump(mode="json")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_the_size_is_known_before_an_image_is_decoded(tmp_path: Path, kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    file = tmp_path / "image"
    photo(0, 20, 30).save(file, kind, exif=exif)
    assert upright_size(file, "x") == decode_rgb(file, "x").size == ((20, 30) if turn == 6 else (30, 20))


@pytest.mark.parametrize("name", ["torchvision", "coco_detection", "hugging_face_detection", "voc_segmentation"])
def test_what_can_only_be_held_whole_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And not ended by the system, or in the words of an allocator."""
    settings = TINY[name](tmp_path, monkeypatch)
    said = refused(name, {**settings, "size": 200_000})
    assert re.match(r"\d+ images of 200000x200000 pixels take [\d,.]+ GiB of memory, and there are [\d,.]+ GiB: ", said)
