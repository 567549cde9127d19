"""The row of a failed trial is written whatever its error says."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from raprune.results.write import write_table
from raprune.study import load_study
from raprune.trial.rows import describe_error, unfinished_row
from tests.tiny import write_study


def test_an_error_may_name_a_file_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    trial = load_study(write_study(tmp_path)).trials[0]
    error = describe_error(OSError("/data/cat/h\udcfctte.png has changed"), "here")
    row = {"study": "s", "trial_id": trial.trial_id, **unfinished_row(trial, "default", "failed", error)}
    write_table(tmp_path / "trial.parquet", "trial", [row])
    (said,) = pq.read_table(tmp_path / "trial.parquet", columns=["error"]).column("error").to_pylist()
    assert "/data/cat/h\\udcfctte.png has changed" in said
