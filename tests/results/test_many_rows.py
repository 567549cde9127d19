"""Studies of very many candidate rows: what is read of them, and how much memory that takes."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.many_rows import write
from raprune.results import TrialStore, read_study, write_json
from raprune.results.files import read_table
from raprune.results.sides import side_of
from tests.analysis.make_tables import STUDY, candidate_row, layer_row, manifest, trial_row

ROWS = 8_000


def own(row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one trial with one layer's candidates."""
    folder = tmp_path_factory.mktemp("few")
    row = own(candidate_row("t", "features.0", 0))
    store = TrialStore(folder, STUDY, "t")
    store.write_layer(0, own(layer_row("t", 0)), [], [row] * ROWS)
    store.write_trial(own(trial_row("t")))
    write_json(folder / "manifest.json", manifest([trial_row("t")]))
    return folder


@pytest.fixture(scope="module")
def many(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with fifteen times as many."""
    folder = tmp_path_factory.mktemp("many") / "study"
    shutil.copytree(few, folder)
    for step in range(1, 15):
        shutil.copyfile(few / "trials/t/candidates-0.parquet", folder / f"trials/t/candidates-{step}.parquet")
    return folder


def peak(read: Callable[[], object]) -> int:
    """Bytes that Arrow and Python held at most for it."""
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        read()
        return int(pool.max_memory()) + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def test_the_report_holds_one_file_of_candidates_at_a_time(few: Path, many: Path) -> None:
    def summed(folder: Path) -> pd.DataFrame:
        return read_study(folder, sums={"candidates": ["score_s"]}).candidates

    summed(few)  # what the first call imports and keeps is not of the rows
    assert peak(lambda: summed(many)) < 1.5 * peak(lambda: summed(few)) + 2**18
    assert peak(lambda: read_study(many).candidates) > 10 * peak(lambda: summed(many))
    assert summed(many)["score_s"].sum() == pytest.approx(15 * ROWS * 0.01)
    assert summed(many)["trial_id"].tolist() == ["t"] * 15


def test_only_the_tables_that_are_asked_for_are_read(few: Path, tmp_path: Path) -> None:
    """A comparison opens no candidates: it works where they are damaged."""
    folder = tmp_path / "study"
    shutil.copytree(few, folder)
    (folder / "trials/t/candidates-0.parquet").write_bytes(b"nothing")
    assert len(side_of(folder).trials) == 1
    tables = read_study(folder, ["layers"])
    assert (len(tables.layers), len(tables.trials), len(tables.candidates)) == (1, 0, 0)
    with pytest.raises(Exception, match=r"candidates-0\.parquet is damaged"):
        read_study(folder, sums={"candidates": ["score_s"]})


def test_a_file_without_rows_has_no_sum(few: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(few, folder)
    TrialStore(folder, STUDY, "t").write_layer(1, own(layer_row("t", 1, prune_step=1)), [], [])
    assert len(read_study(folder, sums={"candidates": ["score_s"]}).candidates) == 1


def test_only_the_columns_that_are_asked_for_are_read(few: Path) -> None:
    file = few / "trials/t/candidates-0.parquet"
    assert read_table(file, "candidates", "t", ["score_s"]).column_names == ["score_s"]
    assert TrialStore(few, STUDY, "t").num_candidates(0) == ROWS
    assert TrialStore(few, STUDY, "t").candidate_counts() == (ROWS, ROWS, 500 * ROWS)
    with pytest.raises(Exception, match="its rows belong to trial 't'"):
        read_table(file, "candidates", "other", ["score_s"])


def test_the_benchmark_writes_what_can_be_read(tmp_path: Path) -> None:
    assert write(tmp_path, rows=13, trials=1) == 13
    tables = read_study(tmp_path)
    assert (len(tables.trials), len(tables.layers), len(tables.candidates)) == (1, 13, 13)
