"""A budget ends a study with its best so far within the bound; continued, it has the rows of one without a budget."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from raprune.console.tables import budget_sentence
from raprune.launch.spending import RunClock
from raprune.results import read_study
from raprune.study.budget import BudgetSpec
from raprune.trial.budget import Account, BudgetSpent, TrialBudget, Unlimited
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import Watch, assert_same_rows, begin, comparable, run_tiny
from tests.waiting import PATIENCE_S

NULLS = ("error", "score_floor", "matched_trial_id", "warranty", "images_per_layer", "score_drop_limit")
"""Columns that are null in a trial of the tiny study that ended well."""


def test_an_account_counts_totals_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(BudgetSpec(candidates=10), 0.0, {"a": 3})
    assert not account.spent("b", 6)
    assert not account.spent("b", 6)
    assert account.spent("b", 7)
    now = [1000.0]
    monkeypatch.setattr("raprune.trial.budget.time.time", lambda: now[0])
    account = Account(BudgetSpec(hours=1.0), 600.0, {})
    assert not account.is_spent
    now[0] += 2999
    assert not account.spent("a", 10**9)
    now[0] += 1
    assert account.spent("a", 0)


def test_a_trials_budget_asks_with_what_its_trial_has_asked_for() -> None:
    budget = TrialBudget(Account(BudgetSpec(candidates=5), 0.0, {"other": 2}), "own", 1)
    budget.require()
    budget.take(2)
    with pytest.raises(BudgetSpent):
        budget.require()
    assert not TrialBudget(Unlimited(), "own", 10**9).is_empty


def test_the_clock_goes_on_from_earlier_runs(tmp_path: Path) -> None:
    (tmp_path / "time.json").write_text(json.dumps({"run_s": 5e6}))
    with RunClock(tmp_path) as clock:
        assert 5e6 <= clock.used_s < 5e6 + PATIENCE_S
    assert 5e6 < json.loads((tmp_path / "time.json").read_text())["run_s"] < 5e6 + PATIENCE_S


def test_a_budget_of_candidates_ends_a_study(reference: Path, tmp_path: Path) -> None:
    """With the first mask of the second trial's second layer."""
    layers = read_study(reference).candidates.groupby(["trial_id", "layer"], sort=False).size()
    first, *_ = ids = list(dict.fromkeys(layers.index.get_level_values(0)))
    budget = int(layers[first].sum() + layers[ids[1]].iloc[0]) + 1
    watch = Watch()
    outcome, out = run_tiny(begin(reference, tmp_path), 0, f"budget.candidates={budget}", watch=watch)
    assert (outcome.exit_code, outcome.interrupted, outcome.budget) == (0, False, f"{budget} candidates")
    tables = read_study(out)
    rows = tables.trials.set_index("trial_id")
    assert rows.loc[first, "status"] == "completed"
    stopped = rows.loc[ids[1]]
    assert stopped["status"] == "stopped"
    nothing = [c for c in stopped.index if c in NULLS or c.endswith("_before_low_rank") or "guard" in c]
    assert not pd.isna(stopped.drop(nothing)).any()
    assert stopped["val_score_drop"] <= stopped["drop_bound"]
    assert stopped["num_layers_decided"] == 2
    assert stopped["num_candidates"] == budget - layers[first].sum()
    assert (out / "trials" / ids[1] / "model" / "model.safetensors").is_file()
    cut = tables.layers[tables.layers["trial_id"] == ids[1]]
    assert list(cut["cut_short"]) == [False, True]
    assert not tables.layers[tables.layers["trial_id"] == first]["cut_short"].any()
    never = rows.drop(ids[:2])
    assert set(never["status"]) == {"stopped"}
    assert never["val_score"].isna().all()
    assert watch.statuses[ids[1]] == "stopped"
    said = budget_sentence(out, outcome.budget or "")
    assert "1 trial ended with the best network so far within the bound" in said
    assert f"{len(never)} trials did not begin" in said


def test_going_on_gives_the_rows_of_a_study_without_a_budget(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    """After two budgets, a run with a spent one, and a kill between a trial's last file and its row."""
    begin(small_study[1], tmp_path)
    first, out = run_tiny(tmp_path, 0, "budget.candidates=8", text=SMALL)
    before = comparable(read_study(out))
    written = {file: file.stat().st_mtime_ns for file in out.glob("trials/*/*.parquet")}
    again, _ = run_tiny(tmp_path, 0, "budget.candidates=8", text=SMALL)
    assert first.exit_code == again.exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in written} == written
    (stopped,) = [file.parent for file in out.glob("trials/*/layers-provisional.parquet")]
    (stopped / "trial.parquet").unlink()
    run_tiny(tmp_path, 0, "budget.candidates=8", text=SMALL)
    for name, frame in comparable(read_study(out)).items():
        pd.testing.assert_frame_equal(frame, before[name], check_exact=True)
    run_tiny(tmp_path, 0, "budget.candidates=16", text=SMALL)
    outcome, _ = run_tiny(tmp_path, 0, text=SMALL)
    assert outcome.exit_code == 0
    assert outcome.budget is None
    assert_same_rows(small_study[1], out)
    assert not list(out.glob("trials/*/*-provisional.parquet"))


def test_spent_hours_let_nothing_begin(reference: Path, tmp_path: Path) -> None:
    begin(reference, tmp_path)
    (tmp_path / "out" / "time.json").write_text(json.dumps({"run_s": 3600.0}))
    outcome, out = run_tiny(tmp_path, 0, "budget.hours=1")
    assert (outcome.exit_code, outcome.budget) == (0, "1 hour")
    assert set(outcome.statuses.values()) == {"stopped"}
    assert not list(out.glob("trials/*/layers-*.parquet"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_budget_on_ray(reference: Path, tmp_path: Path) -> None:
    begin(reference, tmp_path)
    outcome, out = run_tiny(tmp_path, 2, "budget.candidates=60")
    assert (outcome.exit_code, outcome.budget) == (0, "60 candidates")
    rows = read_study(out).trials
    assert "stopped" in set(rows["status"])
    assert set(rows["status"]) <= {"stopped", "completed"}
    assert 60 <= rows["num_candidates"].sum() <= 60 + 2 * 5
    bounded = rows[rows["drop_bound"].notna() & rows["val_score"].notna()]
    assert (bounded["val_score_drop"] <= bounded["drop_bound"]).all()
    outcome, _ = run_tiny(tmp_path, 2)
    assert outcome.exit_code == 0
    assert_same_rows(reference, out)
