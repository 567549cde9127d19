"""Image folders: cropped as by torchvision, one label per folder, splits by folder or seed; bad ones are refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits
from raprune.registry import DATASETS
from tests.data.drawn import photo
from tests.data.files import class_folders, cut, image_folder

SMALL: dict[str, Any] = {"size": 24, "resize": 28, "num_val": 8}


def load(folder: Path, **change: Any) -> Splits:
    found: Splits = DATASETS.build("image_folder", {"root": str(folder), **SMALL, **change})
    return found


def refused(folder: Path, **change: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, **change)
    return str(caught.value)


def identities(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


@pytest.fixture
def with_splits(tmp_path: Path) -> Path:
    for seed, (split, number) in enumerate((("train", 6), ("val", 3), ("test", 4))):
        class_folders(tmp_path / split, number, 100 * seed)
    return tmp_path


def test_pixels_as_torchvision_prepares_them(tmp_path: Path) -> None:
    from torchvision.transforms import v2

    class_folders(tmp_path, 12)
    for number, (width, height) in enumerate(((61, 35), (35, 61), (24, 24), (300, 29))):
        photo(500 + number, height, width).save(tmp_path / "cat" / f"more{number}.png")
    photo(600, 30, 30).convert("L").save(tmp_path / "dog" / "grey.png")
    prepare = v2.Compose([v2.Resize(28), v2.CenterCrop(24), v2.PILToTensor()])
    expected = {
        prepare(Image.open(file).convert("RGB")).numpy().tobytes(): label
        for label, name in enumerate(("cat", "dog"))
        for file in (tmp_path / name).iterdir()
    }
    splits = load(tmp_path)
    assert splits.class_names == ("cat", "dog")
    assert splits.test is None
    found = {
        image.numpy().tobytes(): int(label)
        for split in (splits.train, splits.val)
        for image, label in zip(split.images_BCHW, split.labels_B, strict=True)
    }
    assert found == expected


def test_splits_by_seed(tmp_path: Path) -> None:
    class_folders(tmp_path, 12)
    whole, small = load(tmp_path, num_test=6), load(tmp_path, num_test=6, num_train=4)
    assert whole.test is not None
    assert [len(split) for split in (whole.train, whole.val, whole.test)] == [10, 8, 6]
    assert len(small.train) == 4
    assert identities(small.train.images_BCHW) < identities(whole.train.images_BCHW)
    assert torch.equal(small.val.images_BCHW, whole.val.images_BCHW)
    assert len(whole.val.labels_B.unique()) == 2


def test_splits_by_folder(with_splits: Path) -> None:
    splits = load(with_splits)
    assert splits.test is not None
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [12, 6, 8]
    assert splits.val.labels_B.tolist() != sorted(splits.val.labels_B.tolist())  # not class by class
    cut_down = load(with_splits, num_test=3).test
    assert cut_down is not None
    assert identities(cut_down.images_BCHW) < identities(splits.test.images_BCHW)
    shutil.rmtree(with_splits / "val")
    shutil.rmtree(with_splits / "test")
    dealt = load(with_splits)
    assert [len(dealt.train), len(dealt.val), dealt.test] == [4, 8, None]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    class_folders(tmp_path, 12)
    (tmp_path / "dog").rename(tmp_path / "train")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"not an image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / ".thumbnails").mkdir()
    assert load(tmp_path).class_names == ("cat", "train")


def test_an_image_that_is_there_twice_is_in_no_held_out_split(tmp_path: Path) -> None:
    class_folders(tmp_path, 12)
    for i in range(5):
        shutil.copy(tmp_path / "cat" / f"{i:02}.{'jpg' if i % 2 else 'png'}", tmp_path / "cat" / f"copy{i}.png")
    for seed in range(5):
        splits = load(tmp_path, num_test=6, split_seed=seed)
        assert splits.test is not None
        held_out = identities(splits.val.images_BCHW) | identities(splits.test.images_BCHW)
        assert len(held_out) == 14
        assert held_out.isdisjoint(identities(splits.train.images_BCHW))
        assert len(splits.train) == 29 - 14


def empty_class(root: Path) -> str:
    shutil.rmtree(root / "train" / "dog")
    (root / "train" / "dog").mkdir()
    return f"{root}/train/dog: the class has no images"


def one_class(root: Path) -> str:
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split / "cat")
    return f"{root}/train: must have a subfolder for each of at least two classes; found dog"


def class_in_train_only(root: Path) -> str:
    shutil.rmtree(root / "val" / "dog")
    return f"{root}/train/dog: {root}/val has no class of that name"


def class_in_test_only(root: Path) -> str:
    shutil.copytree(root / "test" / "dog", root / "test" / "wolf")
    return f"{root}/test/wolf: {root}/train has no class of that name"


def truncated(root: Path) -> str:
    cut(root / "test" / "cat" / "01.jpg")
    return f"{root}/test/cat/01.jpg cannot be decoded: "


def not_an_image(root: Path) -> str:
    (root / "val" / "cat" / "notes.txt").write_text("no image")
    return f"{root}/val/cat/notes.txt cannot be decoded"


def overlap(root: Path) -> str:
    shutil.copy(root / "train" / "cat" / "00.png", root / "test" / "cat" / "other name.png")
    return f"splits overlap: {root}/test/cat/other name.png (test) is the same image as {root}/train/cat/00.png (train)"


def broken_link(root: Path) -> str:
    (root / "val" / "cat" / "05.jpg").symlink_to("/no/such/annex/05.jpg")
    return f"{root}/val/cat/05.jpg is a link that leads nowhere, or in a circle: mend it"


def circle(root: Path) -> str:
    (root / "train" / "dog" / "9.jpg").symlink_to("9.jpg")
    return f"{root}/train/dog/9.jpg is a link that leads nowhere, or in a circle: mend it"


def broken_class(root: Path) -> str:
    (root / "train" / "wolf").symlink_to("/no/such/annex/wolf")
    return f"{root}/train/wolf is a link that leads nowhere"


def folder_in_a_class(root: Path) -> str:
    (root / "train" / "cat" / "more").mkdir()
    return f"{root}/train/cat/more is a folder in the folder of a class, so its images would not be used: move them up"


def split_of_another_name(root: Path) -> str:
    (root / "val").rename(root / "validation")
    return f"{root}/validation has the classes of {root}/train, but only train/, val/ and test/ are read"


def class_that_is_no_text(root: Path) -> str:
    for split in ("train", "val", "test"):
        (root / split / "dog").rename(root / split / os.fsdecode(b"d\xf6g"))
    return f"{root}/train/d\\udcf6g: a class must have a name in UTF-8"


def bad_image_on_two_lines(root: Path) -> str:
    (root / "test" / "dog" / "a\nb.png").write_bytes(b"")
    return f"{root}/test/dog/a\\nb.png cannot be decoded: it is empty"


@pytest.mark.parametrize(
    "spoil",
    [
        empty_class, one_class, class_in_train_only, class_in_test_only, truncated, not_an_image, overlap,
        broken_link, circle, broken_class, folder_in_a_class, split_of_another_name, class_that_is_no_text,
        bad_image_on_two_lines,
    ],
)  # fmt: skip
def test_bad_data_is_refused(with_splits: Path, spoil: Callable[[Path], str]) -> None:
    message = spoil(with_splits)
    assert message in refused(with_splits)


def test_settings_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = image_folder(tmp_path, monkeypatch)
    message = f"{tmp_path} has 24 different training images; num_test 4 and num_val 20 take all of them"
    assert refused(tmp_path, num_val=20, num_test=4) == message
    assert refused(tmp_path, resize=20) == "resize: must be at least size, 24; got 20"
    found = DATASETS.get("image_folder").settings.model_validate({**settings, "resize": 20})
    assert found.remedies() == []  # type: ignore[attr-defined]
