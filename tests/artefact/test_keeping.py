"""Which trials of a study keep their network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raprune.artefact import open_trial
from raprune.artefact.keeping import kept, removed_by, thin_out
from raprune.errors import InputError
from raprune.results import TrialStore, read_study
from tests.analysis.make_tables import STUDY, trial_row, unfinished_row
from tests.bench.trials import own
from tests.launch.runs import Watch, assert_same_rows, run_tiny


def row(trial_id: str, macs: int, val: float, test: float | None = None, **changes: Any) -> dict[str, Any]:
    return trial_row(trial_id, macs=macs, val_score_drop=val, test_score_drop=test, **changes)


def test_best_has_the_fewest_macs_within_its_bound() -> None:
    rows = [
        row("loose", 500, 3.5, drop_bound=4.0),
        row("tight", 700, 1.5, drop_bound=2.0),
        row("beyond", 100, 2.5, drop_bound=2.0),
        row("matched", 300, 0.0, drop_bound=None, matched_trial_id="loose"),
        unfinished_row("failed", "failed", "no"),
    ]
    assert kept(rows, "best") == {"loose"}
    assert kept([*rows, row("lost less", 500, 3.0, drop_bound=4.0)], "best") == {"lost less"}
    assert kept([*rows, row("alike", 500, 3.5, drop_bound=4.0)], "best") == {"loose"}
    assert kept(rows[2:], "best") == set()
    assert kept(rows, "all") == {"loose", "tight", "beyond", "matched", "failed"}


def test_front_is_all_that_none_beats_by_val_or_by_test() -> None:
    rows = [
        row("small", 100, 5.0, 5.0),
        row("same", 100, 5.0, 6.0),
        row("good on val", 500, 1.0, 3.0),
        row("good on test", 500, 2.0, 1.0),
        row("beaten", 600, 2.5, 3.5),
        row("matched", 700, 0.5, 0.5, drop_bound=None, matched_trial_id="small"),
    ]
    assert kept(rows, "front") == {"small", "same", "good on val", "good on test", "matched"}
    without_test = [one | {"test_score_drop": None} for one in rows]
    assert kept(without_test, "front") == {"small", "same", "good on val", "matched"}


def test_models_and_data_sets_are_kept_apart() -> None:
    rows = [
        row("a", 100, 1.0),
        row("wide", 900, 1.0, model_settings='{"width": 2.0}'),
        row("other", 800, 1.0, model="resnet18"),
        row("data", 700, 1.0, dataset_settings='{"num_val": 9}'),
        row("worse", 950, 1.5, model_settings='{"width": 2.0}'),
    ]
    for setting in ("best", "front"):
        assert kept(rows, setting) == {"a", "wide", "other", "data"}


def stored(study_dir: Path, *rows: dict[str, Any]) -> list[TrialStore]:
    stores = []
    for one in rows:
        store = TrialStore(study_dir, STUDY, one["trial_id"])
        store.write_trial(own(one))
        (store.folder / "model").mkdir()
        (store.folder / "model" / "model.safetensors").write_bytes(b"weights")
        stores.append(store)
    return stores


def test_a_removal_leaves_rows_and_a_mark(tmp_path: Path) -> None:
    stores = stored(tmp_path, row("a", 100, 1.0), row("b", 200, 1.0))
    stores.append(TrialStore(tmp_path, STUDY, "not ended"))
    (stores[1].folder / ".model").mkdir()  # of a process that was killed while it removed
    assert thin_out(stores, "all") == []
    assert thin_out(stores, "best") == ["b"]
    assert thin_out(stores, "best") == []
    assert [removed_by(store.folder) for store in stores] == [None, "best", None]
    assert sorted(path.name for path in stores[1].folder.iterdir()) == ["model_removed.json", "trial.parquet"]
    (stores[1].folder / "model").mkdir()
    assert removed_by(stores[1].folder) is None


def test_a_study_removes_networks_and_runs_nothing_again(reference: Path, tmp_path: Path) -> None:
    """And gives one back, to the last bit, when it is asked to."""
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    times = {file: file.stat().st_mtime_ns for file in out.glob("trials/*/trial.parquet")}
    watch = Watch()
    outcome, _ = run_tiny(tmp_path, 0, "keep_models=best", watch=watch)
    assert outcome.exit_code == 0
    assert watch.text == "keep_models best: 5 networks removed, all rows kept"
    (best,) = out.glob("trials/*/model")
    trials = read_study(out).trials
    bounded = trials[trials["drop_bound"].notna()]
    assert best.parent.name == bounded.sort_values(["macs", "val_score_drop"], kind="stable")["trial_id"].iloc[0]
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert_same_rows(out, reference)
    gone = next(folder for folder in (out / "trials").iterdir() if folder != best.parent)
    with pytest.raises(InputError, match="no longer has a network: keep_models: best removed it when the study ended"):
        open_trial(gone, allow_import=True)
    with pytest.raises(InputError, match=r"agent, its network was removed by keep_models: best\n"):
        open_trial(out, allow_import=True)
    assert open_trial(best.parent, allow_import=True).plan.trial_id == best.parent.name
    (gone / "trial.parquet").unlink()
    outcome, _ = run_tiny(tmp_path, 0, "keep_models=all")
    assert outcome.exit_code == 0
    for name in ("model.safetensors", "plan.json"):
        assert (gone / "model" / name).read_bytes() == (reference / gone.relative_to(out) / "model" / name).read_bytes()
    assert_same_rows(out, reference)
    assert isinstance(read_study(out).trials, pd.DataFrame)
