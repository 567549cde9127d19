"""Tables of all masks of a layer: what is the optimum, and what a damaged file is told."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.optimum.tables import (
    FOLDER,
    METADATA,
    Origin,
    ScoreTable,
    masks_of,
    num_kept,
    number_of,
    read_table,
    read_tables,
    write_table,
)
from raprune.errors import DamagedError, FileError

ORIGIN = Origin(
    schema=1, network="tiny", seed=0, layer="conv", recalibration_batches=None, num_images=100, deepest=8.0,
    weights=[[4.0], [3.0], [2.0], [1.0]], importance={"magnitude": [4.0, 3.0, 2.0, 1.0]}, raprune="0",
    command="by hand", device="cpu",
)  # fmt: skip


def tiny() -> ScoreTable:
    """Four filters, 90 of 100 images right with all of them, and a few masks within 8 points.

    One filter may go at 1 point (the least important) or at 0 (filter 0); filters 0 and 1 together cost 2 points,
    filters 2 and 3 together 3; filter 2 alone does for 8.
    """
    correct = np.zeros(16, dtype=np.uint16)
    for kept, count in {
        "1111": 90, "1110": 89, "0111": 90, "1011": 84, "0011": 88, "1100": 87, "0010": 82,
    }.items():  # fmt: skip
        correct[number_of(torch.tensor([flag == "1" for flag in kept]))] = count
    return ScoreTable(ORIGIN, correct)


def test_rows_and_masks_are_each_other() -> None:
    masks = masks_of(torch.arange(16), 4)
    assert masks[0b0110].tolist() == [False, True, True, False]
    assert [number_of(mask) for mask in masks] == list(range(16))
    assert num_kept(4).tolist() == masks.sum(1).tolist()


@pytest.mark.parametrize(("drop_bound", "fewest"), [(0.5, 3), (1.0, 3), (1.99, 3), (2.0, 2), (4.0, 2), (8.0, 1)])
def test_the_optimum_is_the_smallest_mask_within_the_bound(drop_bound: float, fewest: int) -> None:
    assert tiny().fewest_kept(drop_bound) == fewest


def test_a_bound_beyond_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="tiny-0-conv knows drops up to 8 points; asked for 9"):
        tiny().fewest_kept(9.0)


def test_what_lost_too_much_has_no_score() -> None:
    masks = masks_of(torch.tensor([15, 14, 9]), 4)
    assert [tiny().score(mask) for mask in masks] == [90.0, 90.0, None]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = write_table(tmp_path / "new", tiny())
    assert file.name == "tiny-0-conv.parquet"
    found = read_tables(tmp_path / "new")[0]
    assert found.origin == ORIGIN
    assert (found.correct == tiny().correct).all()
    recalibrated = replace(tiny(), origin=replace(ORIGIN, recalibration_batches=2))
    assert write_table(tmp_path, recalibrated).name == "tiny-0-conv-recalibrated.parquet"


WRONG = {
    "4 filters need 2\\^4 rows": (ORIGIN, np.full(15, 90)),
    "counts are not those of 100 images": (ORIGIN, np.full(16, 101)),
    "counts are not those of 100": (ORIGIN, np.full(16, 90)),
    "weights are not those of 1 to 16 filters": (replace(ORIGIN, weights=[[1.0]] * 17), tiny().correct),
    "criterion does not rate 4 filters": (replace(ORIGIN, importance={"magnitude": [1.0]}), tiny().correct),
    "schema 2, and this code reads 1": (replace(ORIGIN, schema=2), tiny().correct),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_foreign_table_is_told_what_is_wrong(tmp_path: Path, why: str) -> None:
    origin, correct = WRONG[why]
    file = write_table(tmp_path, ScoreTable(origin, correct)).rename(tmp_path / "some.parquet")
    with pytest.raises(DamagedError, match=f"some.parquet .*{why}.*python -m benchmarks.optimum score"):
        read_table(file)


def test_damage_and_other_files_are_told_in_one_sentence(tmp_path: Path) -> None:
    file = write_table(tmp_path, tiny())
    whole = file.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], b"\0" * 4 + whole[4:40] + b"\xff" * 8 + whole[48:]):
        file.write_bytes(content)
        with pytest.raises(DamagedError) as caught:
            read_table(file)
        assert "\n" not in str(caught.value)
        assert str(file) in str(caught.value)
    for metadata in ({}, {METADATA: "{"}, {METADATA: json.dumps(asdict(ORIGIN))}):
        pq.write_table(pa.table({"correct": [1]}).replace_schema_metadata(metadata), file)
        with pytest.raises(DamagedError, match="is not a table of all masks"):
            read_table(file)
    with pytest.raises(FileError, match="nowhere"):
        read_table(tmp_path / "nowhere.parquet")


def test_the_tables_of_the_repository_are_sound() -> None:
    tables = read_tables()
    assert {file.stem for file in FOLDER.glob("*.parquet")} == {table.name for table in tables}
    assert sum(file.stat().st_size for file in FOLDER.glob("*.parquet")) < 3_000_000
