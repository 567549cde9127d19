"""The result tables on disk: what is written is read, whole files only, one study a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raprune.errors import FileError, ResultsError
from raprune.results import (
    COST_COLUMNS,
    PARTS,
    SCHEMA_VERSION,
    SCHEMAS,
    TrialStore,
    read_study,
    write_json,
)
from raprune.results.write import write_table
from tests.analysis.make_tables import (
    candidate_row,
    joint_row,
    layer_row,
    low_rank_row,
    manifest,
    picture_row,
    speed_rows,
    trial_row,
    unfinished_row,
    update_row,
)  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
ROWS: dict[str, list[dict[str, Any]]] = {
    "trial": [trial_row("t"), unfinished_row("f", "failed", "no")],
    "layers": [layer_row("t", 0), layer_row("t", 1, keep_mask=[False, True], pruned_val_score=None)],
    "updates": [update_row("t", "features.0", 0, score_mean=None), update_row("t", "features.0", 1)],
    "candidates": [candidate_row("t", "features.0", 0), candidate_row("t", "features.0", 1, score=None, update=None)],
    "joint": [joint_row("t", 0), joint_row("t", 1, drop_allowance=None, guard_score=None)],
    "low_rank": [low_rank_row("t", 0), low_rank_row("t", 1, rank=None, applied=False, reason="no")],
    "pictures": [picture_row("t", "improved", 0), picture_row("t", "worse", 0, change=-3.0)],
    "speed": speed_rows("t"),
}


def own(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}


def store_with_layers(folder: Path, steps: list[int]) -> TrialStore:
    store = TrialStore(folder, "made", "t")
    for step in steps:
        candidates = [own(candidate_row("t", "features.0", sample, from_memo=sample > 0)) for sample in range(3)]
        layer = own(layer_row("t", step % 3, prune_step=step))
        store.write_layer(step, layer, [own(update_row("t", "features.0", 0))], candidates)
    return store


@pytest.mark.parametrize("table", SCHEMAS)
def test_rows_come_back_as_they_were_written(table: str, tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", table, ROWS[table])
    found = pq.read_table(tmp_path / "x.parquet")
    assert found.to_pylist() == ROWS[table]
    assert found.schema == SCHEMAS[table]
    assert [field.metadata[b"meaning"] for field in found.schema] == [f.metadata[b"meaning"] for f in SCHEMAS[table]]


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_missing_or_unknown_column_is_refused(table: str, tmp_path: Path) -> None:
    row = ROWS[table][0]
    lacking = {key: value for key, value in row.items() if key != SCHEMAS[table].names[-1]}
    for wrong, named in ((lacking, SCHEMAS[table].names[-1]), (row | {"surprise": 1}, "surprise")):
        with pytest.raises(AssertionError, match=named):
            write_table(tmp_path / "x.parquet", table, [row, wrong])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_has_a_meaning(table: str) -> None:
    silent = [field.name for field in SCHEMAS[table] if not field.metadata[b"meaning"].strip()]
    assert not silent, f"{table}: no meaning for {silent}"


@pytest.mark.parametrize("table", SCHEMAS)
def test_schemas_carry_their_version_and_their_keys_first(table: str) -> None:
    assert SCHEMAS[table].metadata == {b"raprune_schema_version": str(SCHEMA_VERSION).encode()}
    assert SCHEMAS[table].names[:2] == ["study", "trial_id"]
    assert set(COST_COLUMNS[table]) <= set(SCHEMAS[table].names)


def test_a_study_is_read_in_its_own_order_and_without_stale_trials(tmp_path: Path) -> None:
    rows = [trial_row(name) for name in ("b", "a", "stale")]
    for row in rows:
        store = TrialStore(tmp_path, "made", row["trial_id"])
        for step in (0, 1, 10, 2):
            layer = own(layer_row(row["trial_id"], step % 3, prune_step=step))
            store.write_layer(step, layer, [], [own(candidate_row("t", "features.0", 0))])
        store.write_trial(own(row))
    write_json(tmp_path / "manifest.json", manifest(rows[:2]))
    tables = read_study(tmp_path)
    assert list(tables.trials["trial_id"]) == ["b", "a"]
    assert list(tables.layers["trial_id"]) == ["b"] * 4 + ["a"] * 4
    assert list(tables.layers["prune_step"]) == [0, 1, 2, 10] * 2
    assert len(tables.candidates) == 8
    assert tables.manifest["study"] == "made"


def test_unknown_is_null(tmp_path: Path) -> None:
    row = unfinished_row("t", "failed", "no")
    TrialStore(tmp_path, "made", "t").write_trial(own(row))
    write_json(tmp_path / "manifest.json", manifest([row]))
    (read,) = read_study(tmp_path).trials.to_dict("records")
    assert pd.isna(read["val_score"])
    assert pd.isna(read["num_kept"])
    assert read["error"] == "no"


def test_an_empty_study_has_typed_tables(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", manifest([]))
    tables = read_study(tmp_path)
    assert list(tables.trials.columns) == SCHEMAS["trial"].names
    assert tables.trials["pruning_ratio"].dtype == float
    assert tables.layers.empty


def test_an_older_schema_loads_with_nulls(tmp_path: Path) -> None:
    row = trial_row("t")
    older = pa.Table.from_pylist([row], schema=SCHEMAS["trial"]).drop_columns(["num_layers_whole", "preset"])
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    pq.write_table(older.replace_schema_metadata({"raprune_schema_version": "0"}), folder / "trial.parquet")
    write_json(tmp_path / "manifest.json", manifest([row], schema_version=0))
    trials = read_study(tmp_path).trials
    assert list(trials.columns) == SCHEMAS["trial"].names
    assert trials[["num_layers_whole", "preset"]].isna().all(axis=None)
    assert trials["val_score"].tolist() == [98.0]


def test_version_5_loads_without_a_guard(tmp_path: Path) -> None:
    trial, layer = trial_row("t"), layer_row("t", 0)
    new = [name for name in SCHEMAS["trial"].names if "guard" in name or name in ("warranty", "score_drop_limit")]
    in_layers = ["guard_score", "guard_score_drop", "score_drop_limit", "num_guard_looks", "drop_margin"]
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    for table, row, columns in (("trial", trial, new), ("layers", layer, in_layers)):
        older = pa.Table.from_pylist([row], schema=SCHEMAS[table]).drop_columns(columns)
        file = folder / ("trial.parquet" if table == "trial" else "layers-0.parquet")
        pq.write_table(older.replace_schema_metadata({"raprune_schema_version": "5"}), file)
    write_json(tmp_path / "manifest.json", manifest([trial], schema_version=5))
    tables = read_study(tmp_path)
    assert len(new) == 9
    assert tables.trials[new].isna().all(axis=None)
    assert tables.layers[in_layers].isna().all(axis=None)
    assert tables.trials["val_score"].tolist() == [98.0]


def test_version_1_loads_without_units_and_pictures(tmp_path: Path) -> None:
    row = trial_row("t")
    first = pa.Table.from_pylist([row], schema=SCHEMAS["trial"]).drop_columns(["score_unit"])
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    pq.write_table(first.replace_schema_metadata({"raprune_schema_version": "1"}), folder / "trial.parquet")
    write_json(tmp_path / "manifest.json", manifest([row], schema_version=1))
    tables = read_study(tmp_path)
    assert tables.trials["score_unit"].isna().all()
    assert tables.trials["val_score"].tolist() == [98.0]
    assert list(tables.pictures.columns) == SCHEMAS["pictures"].names
    assert tables.pictures.empty


def test_version_2_loads_without_rounding_and_speed(tmp_path: Path) -> None:
    trial, layer = trial_row("t"), layer_row("t", 0)
    older = {"trial": (trial, ["round_to", "images_scored", *PARTS]), "layers-0": (layer, ["num_decided", *PARTS])}
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    for name, (row, lacking) in older.items():
        table = pa.Table.from_pylist([row], schema=SCHEMAS[name.partition("-")[0]]).drop_columns(lacking)
        pq.write_table(table.replace_schema_metadata({"raprune_schema_version": "2"}), folder / f"{name}.parquet")
    write_json(tmp_path / "manifest.json", manifest([trial], schema_version=2))
    tables = read_study(tmp_path)
    assert tables.trials[["round_to", "images_scored"]].isna().all(axis=None)
    assert tables.layers["num_decided"].isna().all()
    assert tables.trials[list(PARTS)].isna().all(axis=None)
    assert tables.layers["num_kept"].tolist() == [6]
    assert list(tables.speed.columns) == SCHEMAS["speed"].names
    assert tables.speed.empty


def test_speed_is_replaced_as_a_whole(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "made", "t")
    store.write_trial(own(trial_row("t")))
    write_json(tmp_path / "manifest.json", manifest([trial_row("t")]))
    for seconds in (0.5, 0.25):
        store.write_speed([own(row) for row in speed_rows("t", new_s=seconds)])
    assert read_study(tmp_path).speed["median_s"].tolist() == [0.02, 0.25]


def test_pictures_are_read_with_their_trials(tmp_path: Path) -> None:
    rows = [trial_row(name) for name in ("b", "a", "none")]
    for row in rows:
        store = TrialStore(tmp_path, "made", row["trial_id"])
        if row["trial_id"] != "none":
            store.write_pictures([own(picture_row(row["trial_id"], "improved", place)) for place in range(2)])
        store.write_trial(own(row))
    write_json(tmp_path / "manifest.json", manifest(rows))
    pictures = read_study(tmp_path).pictures
    assert list(pictures["trial_id"]) == ["b", "b", "a", "a"]
    assert list(pictures["place"]) == [0, 1, 0, 1]
    assert pictures["label"][0] == picture_row("b", "improved", 0)["label"]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", manifest([], schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(ResultsError, match=f"reads up to {SCHEMA_VERSION}"):
        read_study(tmp_path)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="contains no study"):
        read_study(tmp_path)


def test_committed_layers_end_at_the_first_gap(tmp_path: Path) -> None:
    store = store_with_layers(tmp_path, [0, 1, 3])
    assert store.num_committed() == 2
    assert [row["prune_step"] for row in store.layer_rows()] == [0, 1]
    assert store.candidate_counts() == (6, 2, 3000)
    assert TrialStore(tmp_path, "made", "new").num_committed() == 0


def test_status_is_that_of_the_trials_row(tmp_path: Path) -> None:
    store = store_with_layers(tmp_path, [0])
    assert store.status() is None
    store.write_trial(own(trial_row("t")))
    assert store.status() == "completed"
    store.forget_row()
    store.forget_row()
    assert store.status() is None
    assert store.num_committed() == 1


@pytest.mark.parametrize("fails_at", range(3))
def test_a_crash_leaves_only_complete_files(fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with_layers(tmp_path, [0])
    replace, calls = os.replace, 0

    def crash(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > fails_at:
            raise OSError("the power went")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(FileError, match=r"-1\.parquet: the power went"):
            store_with_layers(tmp_path, [1])
    assert store.num_committed() == 1
    final = [file for file in store.folder.iterdir() if not file.name.startswith(".")]
    assert len(final) == 3 + fails_at
    assert all(len(pq.read_table(file)) for file in final)
    assert store_with_layers(tmp_path, [1]).num_committed() == 2


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert not (tmp_path / "x.json").exists()
