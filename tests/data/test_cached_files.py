"""What large data sets keep in files between runs: used where it is whole and still true, made again where not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.identity import ENCODED
from raprune.plugins.datasets import contents
from raprune.plugins.datasets import index as index_module
from raprune.plugins.datasets import reading as reading_module
from raprune.study import load_study
from raprune.study.parts import DataSpec
from raprune.study.schema import DataChoice
from tests.data.drawn import photo
from tests.data.files import cut
from tests.data.streamed import NEVER, batches_of, opened
from tests.data.test_read_again import ON_DISK, write_folder
from tests.tiny import write_study


def test_files_are_read_once_and_known_by_their_digests(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index trusts path, size and time; whoever decodes a file trusts its digest alone."""
    monkeypatch.setattr(index_module, "KEPT_FROM_BYTES", 1)
    read: list[str] = []
    digest_of = index_module.digest_of
    monkeypatch.setattr(index_module, "digest_of", lambda data: read.append("file") or digest_of(data))
    first = opened(root, workers=0, **NEVER)
    assert len(read) == 48
    assert np.array_equal(opened(root, workers=0, **NEVER).train.stream.places, first.train.stream.places)
    assert len(read) == 48
    changed = Path(first.train.stream.source.name(int(first.train.stream.places[0])))
    before = changed.stat()
    photo(999, 33, 40).save(changed)
    opened(root, workers=0, **NEVER)
    assert len(read) == 49
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    for workers in (0, 2):
        with pytest.raises(InputError, match=f"{changed} has other content than when the data set was listed"):
            batches_of(replace(first, train=replace(first.train, stream=replace(first.train.stream, workers=workers))))


def test_a_name_may_be_any_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an archive from another system leaves it; names of an index of an earlier version, texts, are known still."""
    monkeypatch.setattr(index_module, "KEPT_FROM_BYTES", 1)
    photo(5, 30, 30).save(root / "cat" / "plain.png")
    (root / "cat" / "plain.png").rename(root / "cat" / os.fsdecode(b"h\xfctte.png"))
    whole, first = opened(root), opened(root, workers=0, **NEVER)
    assert torch.equal(first.train.at(slice(None)), whole.train.at(slice(None)))
    read: list[str] = []
    digest_of = index_module.digest_of
    monkeypatch.setattr(index_module, "digest_of", lambda data: read.append("file") or digest_of(data))
    opened(root, workers=0, **NEVER)
    assert read == []
    (file,) = (root.parent / "cache").glob("index-*.parquet")
    table = pq.read_table(file)
    is_text = [name.isascii() for name in table.column("name").to_pylist()]
    earlier = table.filter(pa.array(is_text))
    pq.write_table(earlier.set_column(0, "name", earlier.column("name").cast(pa.string())), file)
    opened(root, workers=0, **NEVER)
    assert len(read) == 1


def test_long_work_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "LONG_BYTES", 1)
    monkeypatch.setattr(reading_module, "LONG_BYTES", 1)
    told: list[str] = []
    choice = DataChoice(name="image_folder", settings={"root": str(root), "size": 24, "num_val": 10}, guard=0.0)
    for _ in range(2):
        with Inputs(tell=told.append) as inputs:
            inputs.read_as(DataSpec(cache=str(root.parent / "cache"), **NEVER))
            inputs.data(choice)
    assert [line.replace(str(root.parent), "") for line in told if "decoding" in line] == [
        "decoding 10 images to be scored into /cache (0.0 GiB), once"
    ]
    assert told[0] == f"reading 48 images of {root} (0.0 GiB), once"


@pytest.mark.parametrize("damage", [b"", b"PAR1nothing", None])
def test_a_damaged_index_is_made_anew(root: Path, damage: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "KEPT_FROM_BYTES", 1)
    first = opened(root, workers=0, **NEVER)
    (file,) = (root.parent / "cache").glob("index-*.parquet")
    if damage is None:  # another table
        pq.write_table(pa.table({"name": ["x"]}), file)
    else:
        file.write_bytes(damage)
    again = opened(root, workers=0, **NEVER)
    assert np.array_equal(again.train.stream.source.digests, first.train.stream.source.digests)
    assert pq.read_table(file).num_rows == 48


def test_a_file_cut_off_is_refused_before_anything_is_trained(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that are whole are known the next time."""
    monkeypatch.setattr(index_module, "KEPT_FROM_BYTES", 1)
    cut(root / "dog" / "23.jpg")
    with pytest.raises(InputError, match=f"{root}/dog/23.jpg cannot be decoded: "):
        opened(root, workers=0, **NEVER)
    (file,) = (root.parent / "cache").glob("index-*.parquet")
    assert pq.read_table(file).num_rows > 0


def test_pixels_that_were_damaged_are_decoded_again(root: Path) -> None:
    """Mapped from one file, which is not written to; a cut or changed one is replaced, without a word."""
    first = opened(root, **NEVER).val.images_BCHW.clone()
    cache = root.parent / "cache"
    files = sorted(cache.glob("*.pixels"))
    assert len(files) == 3
    for file in files:
        pixels = bytearray(file.read_bytes())
        pixels[7] ^= 255
        file.write_bytes(pixels)
    assert torch.equal(opened(root, **NEVER).val.images_BCHW, first)
    cut(files[0])
    assert torch.equal(opened(root, **NEVER).val.images_BCHW, first)
    assert sorted(cache.glob("*.pixels")) == files


def test_a_cache_that_cannot_be_used_is_named(root: Path) -> None:
    (root.parent / "cache").write_text("a file")
    with pytest.raises(
        InputError, match=r"dataset image_folder: data.cache: .*cache' cannot be a folder: it is a file"
    ):
        opened(root, **NEVER)


def test_fingerprints_of_both_kinds(root: Path) -> None:
    """A stream's fingerprint is of its files; it says nothing against one of pixels."""
    whole, streamed = opened(root), opened(root, **NEVER)
    found, now = contents.of_data(whole), contents.of_data(streamed)
    assert now.startswith(ENCODED)
    assert now == contents.of_data(opened(root, workers=0, **NEVER))
    assert contents.of_test(whole) == contents.of_test(streamed)
    assert not contents.changed(found, streamed)
    os.rename(root / "cat" / "00.png", root / "cat" / "99.png")
    other = opened(root, **NEVER)
    assert contents.changed(now, other)
    assert contents.of_data(opened(root, {"resize": 30}, **NEVER)) != contents.of_data(other)
    assert contents.of_data(opened(root, {"random_resized_crop": True})).startswith(ENCODED)


def test_a_study_moves_between_machines_with_more_and_less_memory(tmp_path: Path) -> None:
    """Its baseline is judged by its score, and keeps the fingerprint by which its candidates are known."""
    write_folder(tmp_path / "images", per_class=45)
    file = write_study(tmp_path, ON_DISK.format(root=tmp_path) + f"data: {{cache: {tmp_path}/cache}}\n")
    (trial,) = load_study(file).trials
    fingerprints = []
    for memory_gib in (1.0, 0.0, 1.0):
        with Inputs() as inputs:
            inputs.read_as(DataSpec(memory_gib=memory_gib, workers=0, cache=str(tmp_path / "cache")))
            fingerprints.append(prepare_baseline(trial, tmp_path / "baseline", inputs=inputs).data_fingerprint)
    assert len(set(fingerprints)) == 1
    assert not fingerprints[0].startswith(ENCODED)
    for name in ("bright", "dark"):
        (tmp_path / "images" / name).rename(tmp_path / "images" / f"{name}er")
    (tmp_path / "images" / "brighter").rename(tmp_path / "images" / "zinc")  # now the second class
    with Inputs() as inputs:
        inputs.read_as(DataSpec(memory_gib=0.0, workers=0, cache=str(tmp_path / "cache")))
        with pytest.raises(InputError, match="built on other images"):
            prepare_baseline(trial, tmp_path / "baseline", inputs=inputs)
