"""The lists of the layers table on disk: one value for each filter, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raprune.errors import FileError
from raprune.results import SCHEMAS, TrialStore, read_study, write_json
from tests.analysis.make_tables import joint_row, layer_row, manifest, trial_row
from tests.results.test_results import own


def test_version_6_loads_without_the_columns_of_filters(tmp_path: Path) -> None:
    layer = layer_row("t", 0)
    new = ["filter_shape", "filter_norms", "filter_places", "keep_probs", "filter_weights"]
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    older = pa.Table.from_pylist([layer], schema=SCHEMAS["layers"]).drop_columns(new)
    pq.write_table(older.replace_schema_metadata({"raprune_schema_version": "6"}), folder / "layers-0.parquet")
    write_json(tmp_path / "manifest.json", manifest([trial_row("t")], schema_version=6))
    layers = read_study(tmp_path).layers
    assert layers[new].isna().all(axis=None)
    assert layers["num_kept"].tolist() == [6]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"filter_norms": [1.0] * 9}, "filter_norms has 9 values for 10 filters"),
        ({"keep_probs": [0.5] * 9 + [None]}, "keep_probs has gaps"),
        ({"keep_probs": [0.5] * 9 + [float("nan")]}, "keep_probs has gaps"),
        ({"filter_weights": [0.0] * 40, "filter_shape": [1, 2, 3]}, "filter_weights has 40 values for 10 filters"),
        ({"filter_weights": [0.0] * 60}, "filter_weights has 60 values for 10 filters"),
    ],
)
def test_a_list_that_is_not_one_value_for_each_filter_is_refused(
    wrong: dict[str, Any], named: str, tmp_path: Path
) -> None:
    store = TrialStore(tmp_path, "made", "t")
    store.write_layer(0, own(layer_row("t", 0, **wrong)), [], [])
    with pytest.raises(FileError, match=named):
        store.layer_rows()


@pytest.mark.parametrize("sizes", [[10, 10, 9], [20, None, 10]])
def test_layers_that_are_not_the_entries_of_a_pass_are_refused(sizes: list[int | None], tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "made", "t")
    store.write_joint(0, 3, own(joint_row("t", 0, layer_sizes=sizes)), [])
    with pytest.raises(FileError, match="layer_sizes do not add up to 30 filters"):
        store.joint_rows()


def test_version_11_loads_without_the_sizes_of_layers(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    older = pa.Table.from_pylist([joint_row("t", 0)], schema=SCHEMAS["joint"]).drop_columns(["layer_sizes"])
    pq.write_table(older.replace_schema_metadata({"raprune_schema_version": "11"}), folder / "joint-0.parquet")
    write_json(tmp_path / "manifest.json", manifest([trial_row("t")], schema_version=11))
    joint = read_study(tmp_path).joint
    assert joint["layer_sizes"].isna().all()
    assert joint["num_kept"].tolist() == [17]


def test_lists_of_filters_come_back(tmp_path: Path) -> None:
    lists = {"filter_shape": [1, 2, 3], "filter_norms": [0.5] * 10, "filter_weights": [0.25] * 60}
    store = TrialStore(tmp_path, "made", "t")
    store.write_layer(0, own(layer_row("t", 0, **lists)), [], [])
    (row,) = store.layer_rows()
    assert {name: row[name] for name in lists} == lists
