"""Image Parquet: pixels, splits and class names as they are in the files; bad files are refused by name and row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raprune.engine.batches import train_batches
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits
from raprune.registry import DATASETS
from raprune.study.parts import DataSpec
from raprune.study.schema import DataChoice
from tests.data.drawn import pixels, png
from tests.data.files import image_parquet, write_parquet


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
        (
            {"image_column": "label"},
            "train.parquet: column 'label' must be a struct with a field bytes, of type binary; it is int64",
        ),
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
        ([b"no image", png(pixels(1, 0)[0])], "row 0 of {folder}/train.parquet cannot be decoded"),
        ([b"", png(pixels(1, 0)[0])], "row 0 of {folder}/train.parquet cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0])[:100]], "row 1 of {folder}/train.parquet cannot be decoded"),
        ([png(pixels(1, 0)[0]), png(pixels(1, 0)[0][:16])], "all images must have the same size"),
    ],
)
def test_bad_images(tmp_path: Path, images: list[bytes], message: str) -> None:
    write_parquet(tmp_path / "train.parquet", images, [0, 1])
    assert message.format(folder=tmp_path) in refused({"train": str(tmp_path / "train.parquet"), "num_val": 1})


def test_a_missing_label(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(image) for image in pixels(3, 0)], [0, 1, None])
    message = f"{tmp_path}/train.parquet: row 2 has no label"
    assert refused({"train": str(tmp_path / "train.parquet"), "num_val": 1}) == message


def test_a_test_image_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = image_parquet(tmp_path, monkeypatch)
    write_parquet(tmp_path / "test.parquet", [png(pixels(1, 9)[0]), png(pixels(1, 9)[0][:16])], [0, 1])
    assert f"row 1 of {tmp_path}/test.parquet has 32x16 pixels, others 32x32" in refused(settings)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"no Parquet file")
    assert f"{tmp_path}/train.parquet is not a Parquet file" in refused({"train": str(tmp_path / "train.parquet")})


ENCODED = [png(image) for image in pixels(20, 0)]


def table_of(kind: pa.DataType | None = None, images: Sequence[object] = ENCODED) -> pa.Table:
    of_kind = pa.struct([("bytes", kind or pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": image, "path": None} for image in images], of_kind)
    return pa.table({"img": column, "label": pa.array([i % 10 for i in range(len(images))], pa.int64())})


def damaged(file: Path, part: slice) -> None:
    """Zeros in a part of the file, which is the beginning of its columns or of its footer."""
    pq.write_table(table_of(), file)
    data = bytearray(file.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    places = range(*part.indices(footer)) if part.stop is not None else range(footer, footer + 100)
    for place in places:
        data[place] = 0
    file.write_bytes(data)


@pytest.mark.parametrize("memory_gib", [1.0, 0.0])
@pytest.mark.parametrize("part", [slice(200, -1500), slice(-60, -5), slice(None)], ids=["images", "labels", "footer"])
def test_a_damaged_file_is_named(tmp_path: Path, part: slice, memory_gib: float) -> None:
    """And not the cache, where the rows were to be copied into it."""
    damaged(tmp_path / "train.parquet", part)
    with pytest.raises(InputError, match=rf"{tmp_path}/train.parquet is damaged: .*; get it again$"):
        opened({"train": str(tmp_path / "train.parquet"), "num_val": 5}, tmp_path / "cache", memory_gib)


def test_what_stands_for_no_image(tmp_path: Path) -> None:
    """A text is no image, and would name a file of this machine; a missing one is told as such."""
    file, photo = tmp_path / "train.parquet", tmp_path / "photo.png"
    photo.write_bytes(ENCODED[0])
    settings = {"train": str(file), "num_val": 5}
    pq.write_table(table_of(pa.string(), [str(photo)] * 20), file)
    assert "'img' must be a struct with a field bytes, of type binary; it is struct<bytes: string" in refused(settings)
    pq.write_table(table_of(images=[None, *ENCODED[1:]]), file)
    assert refused(settings) == f"row 0 of {file} cannot be decoded: it is empty, 0 bytes"
    twice = table_of().append_column("label", pa.array([0] * 20))
    pq.write_table(twice, file)
    assert "has several columns 'label'" in refused(settings)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_rows(tmp_path: Path, split: str) -> None:
    for name in ("train", split):
        pq.write_table(table_of(images=ENCODED if name != split else []), tmp_path / f"{name}.parquet")
    settings = {"train": str(tmp_path / "train.parquet"), split: str(tmp_path / f"{split}.parquet"), "num_val": 5}
    assert refused(settings) == f"{tmp_path}/{split}.parquet has no images: its Parquet files have no rows"


@pytest.mark.parametrize("memory_gib", [1.0, 0.0])
def test_files_of_one_folder_may_hold_bytes_in_different_ways(tmp_path: Path, memory_gib: float) -> None:
    """Folders may have a name like a file's, as other programs write data sets."""
    folder = tmp_path / "train.parquet" / "part.parquet"
    folder.mkdir(parents=True)
    for number, kind in enumerate((pa.binary(), pa.large_binary())):
        pq.write_table(table_of(kind, ENCODED[10 * number :][:10]), folder / f"{number}.parquet")
    found = opened({"train": str(folder.parent), "num_val": 5}, tmp_path / "cache", memory_gib)
    pq.write_table(table_of(), tmp_path / "one.parquet")
    expected = opened({"train": str(tmp_path / "one.parquet"), "num_val": 5}, tmp_path / "cache", memory_gib)
    assert torch.equal(found.train.at(slice(None)), expected.train.at(slice(None)))


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


@pytest.mark.parametrize(
    "described",
    [
        "{no",
        "[]",
        '{"info": []}',
        *(json.dumps({"info": {"features": {"label": label}}}) for label in ([1], {"names": 7})),
    ],
)
def test_a_description_that_cannot_be_read_names_no_class(tmp_path: Path, described: str) -> None:
    images = [png(image) for image in pixels(4, 0)]
    write_parquet(tmp_path / "train.parquet", images, [0, 1, 2, 0], {"huggingface": described})
    assert load({"train": str(tmp_path / "train.parquet"), "num_val": 1}).class_names == ()


def test_real_jpegs(data_root: Path) -> None:
    splits = load({"train": str(data_root / "cifar10" / "test.parquet"), "num_val": 1000})
    assert (len(splits.train), len(splits.val), splits.test) == (4000, 1000, None)
    assert splits.input_shape == (3, 32, 32)
    assert torch.bincount(splits.train.labels_B).min() > 300
    assert splits.class_names[3] == "cat"


def test_files_of_a_folder_are_one_after_another(tmp_path: Path) -> None:
    """As the hub has large data sets: many files, a split of their own, images of several sizes."""
    for split, seeds in (("train", (0, 1, 2)), ("val", (3,))):
        (tmp_path / split).mkdir()
        for seed in seeds:
            images = [png(image[: 32 - seed]) for image in pixels(10, seed)]
            write_parquet(tmp_path / split / f"{seed}-of-3.parquet", images, list(range(10)))
    settings = {"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), "size": 16, "resize": 16}
    splits = load(settings)
    assert [len(splits.train), len(splits.val), splits.test] == [30, 10, None]
    assert splits.train.labels_B.tolist() != [*range(10)] * 3  # not file by file
    assert splits.val.labels_B.tolist() == [*range(10)]
    assert refused({**settings, "size": None}) == "resize: needs size"
    assert refused({**settings, "resize": 10}) == "resize: must be at least size, 16; got 10"
    (tmp_path / "val" / "3-of-3.parquet").unlink()
    assert refused(settings) == f"{tmp_path}/val has no Parquet files"


def opened(settings: dict[str, Any], cache: Path, memory_gib: float) -> Splits:
    with Inputs() as inputs:
        inputs.read_as(DataSpec(memory_gib=memory_gib, workers=0, cache=str(cache)))
        return inputs.data(DataChoice(name="image_parquet", settings=settings, guard=0.0))


def test_rows_that_do_not_fit_into_memory_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, into one file of the cache, which is told from another; with the numbers of rows in memory."""
    settings = image_parquet(tmp_path, monkeypatch)

    def opened(memory_gib: float) -> Splits:
        with Inputs() as inputs:
            inputs.read_as(DataSpec(memory_gib=memory_gib, workers=0, cache=str(tmp_path / "cache")))
            return inputs.data(DataChoice(name="image_parquet", settings=settings, guard=0.3))

    whole, copied = opened(1.0), opened(0.0)
    batches = [list(train_batches(splits, 8, 5, 0, torch.float32)) for splits in (whole, copied)]
    for (one, labels), (other, same_labels) in zip(*batches, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, same_labels)
    assert torch.equal(whole.val.images_BCHW, copied.val.images_BCHW)
    copies = sorted((tmp_path / "cache").glob("*.images"))
    assert len(copies) == 2
    stream = copied.train.stream
    assert stream is not None
    for file in copies:
        data = bytearray(file.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        file.write_bytes(data)
    with pytest.raises(
        InputError, match=r"\.images is damaged: delete it, and the same command copies row \d+ of .*train.parquet"
    ):
        stream.whole()
    Path(stream.source.file).unlink()
    with pytest.raises(InputError, match=rf"^{stream.source.file}, the copy of row \d+ of .*; the same command copies"):
        stream.whole()
    for file in (tmp_path / "cache").glob("*.npz"):
        file.write_bytes(b"damaged")
    assert torch.equal(opened(0.0).train.at(slice(None)), whole.train.images_BCHW)
    write_parquet(tmp_path / "train.parquet", [png(image) for image in pixels(39, 0)] + [b"no image"], [0] * 40)
    with pytest.raises(InputError, match=f"row 39 of {tmp_path}/train.parquet cannot be decoded"):
        opened(0.0)
