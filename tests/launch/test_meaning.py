"""Columns mean the same in every kind of trial: what was scored when, by which rule, and what diverged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from analysis.frames import completed_trials
from analysis.repeats import repeats_line
from raprune.console.progress import StudyProgress
from raprune.console.tables import results_table
from raprune.console.trials import TrialProgress
from raprune.engine import ExactEngine
from raprune.engine.train import Recipe, train
from raprune.engine.workload import Baseline, Workload
from raprune.errors import InputError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.results import Tables, TrialStore, read_study
from raprune.study import load_study
from raprune.trial.snapshots import Snapshots, num_asked
from tests.launch.runs import run_tiny
from tests.tiny import Trained, engine_of

STUDY = """
name: tiny
model: {import: 'tests.short:Short'}
dataset: {name: digits, num_val: 200, num_test: 200}
baseline: {epochs: 2, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}
finetune: {before_reward: {steps: 2}, after_layer: {steps: 4}}
layers: [features.10, features.40]
scoring: {batch_size: 50}
drop_bound: 8.0
guard: 0
sweep:
  method: [magnitude, {name: random, match: magnitude}]
"""
FINE = "finetune.learning_rate=0.01"
WILD = ("finetune.learning_rate=1e30", "finetune.at_end.steps=2")


def by_kind(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Layers of searched trials, and of matched ones."""
    trials = tables.trials
    matched = set(trials.loc[trials["matched_trial_id"].notna(), "trial_id"])
    mine = tables.layers["trial_id"].isin(matched)
    return tables.layers[~mine], tables.layers[mine]


def test_scores_as_cut_and_as_scored_have_a_column_each(tmp_path: Path) -> None:
    outcome, out = run_tiny(tmp_path, 0, text=STUDY)
    assert outcome.exit_code == 0
    tables = read_study(out)
    trial = load_study(tmp_path / "tiny.yaml").trials[0]
    baseline = out / "baselines" / trial.baseline_key
    engine = ExactEngine(Workload.of(trial, baseline), "cpu")
    start = State.baseline(Baseline.read(baseline).key)  # type: ignore[union-attr]
    for layers in by_kind(tables):
        row = layers.iloc[0]
        mask = KeepMask(bytes(row["keep_mask"]))
        assert not mask.keeps_all
        assert row["cut_val_score"] == engine.measure(start.cut(engine.graph, row["layer"], mask), "val")
        scored = engine.measure(engine.candidate(start, row["layer"], mask), "val")
        assert row["pruned_val_score"] == scored or pd.isna(row["pruned_val_score"])
    assert by_kind(tables)[0]["pruned_val_score"].notna().all()
    assert tables.trials["acceptance"].tolist() == ["within bound", "as matched"]
    assert (tables.trials["num_diverged"] == 0).all()


def test_without_a_finetune_before_the_reward_both_are_one(tmp_path: Path) -> None:
    _, out = run_tiny(tmp_path, 0, "finetune.before_reward.steps=0", text=STUDY)
    layers = read_study(out).layers
    assert len(layers) == 4
    assert layers["cut_val_score"].tolist() == layers["pruned_val_score"].tolist()


def test_a_finetune_that_diverges_is_told_and_never_kept(tmp_path: Path) -> None:
    outcome, out = run_tiny(tmp_path, 0, "finetune.before_reward.steps=0", *WILD, text=STUDY)
    assert outcome.exit_code == 0
    tables = read_study(out)
    assert (tables.layers["num_diverged"] > 0).any()
    assert (tables.layers.loc[tables.layers["num_diverged"] > 0, "num_kept"] > 0).all()
    assert (tables.layers["finetuned_val_score"] == tables.layers["cut_val_score"]).all()  # the weights as cut
    assert (tables.trials["num_diverged"] > tables.layers.groupby("trial_id")["num_diverged"].sum().min()).all()
    assert tables.trials["baseline_finetuned_val_score"].isna().all()
    searched = tables.trials[tables.trials["drop_bound"].notna()]
    assert (searched["val_score_drop"] <= 8.0 + 1e-9).all()
    console = Console(width=200)
    with console.capture() as said:
        console.print(results_table(tables))
    assert "fine-tunes diverged (weights became NaN or infinite)" in said.get()


def test_candidates_that_diverge_have_the_reward_of_no_right_answer(tmp_path: Path) -> None:
    outcome, out = run_tiny(tmp_path, 0, *WILD, "sweep.method=[magnitude]", text=STUDY)
    assert outcome.exit_code == 0
    candidates = read_study(out).candidates
    assert len(candidates)
    assert candidates["score"].isna().all()
    assert (candidates["reward"] < 0).all()


@pytest.mark.parametrize(("rate", "stays"), [(0.01, True), (1e30, False)])
def test_training_says_whether_it_stayed_finite(trained: Trained, rate: float, stays: bool) -> None:
    engine = engine_of(trained.network, trained.splits)
    network = engine.build(State.baseline("baseline"))
    assert train(network, trained.splits, engine.score, Recipe(rate, 0.9, 0.0, 16, "linear"), 4, 0) is stays


def test_a_baseline_that_diverges_is_refused_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training diverged.*lower baseline\.learning_rate \(it is 1e\+30\)"):
        run_tiny(tmp_path, 0, "baseline.learning_rate=1e30", text=STUDY)


def test_the_console_says_that_a_finetune_diverged() -> None:
    console = Console(width=200)
    progress = StudyProgress(console, {"a": TrialProgress("magnitude", 10, 2)})
    with console.capture() as said:
        progress.told("a", {"layer": "features.0", "prune_step": 1, "pruning_ratio": 0.1, "num_diverged": 1})
    assert "features.0: its fine-tune diverged" in said.get()


def test_masks_of_the_order_are_counted_and_rows_that_seeds_only_repeat_are_found(tmp_path: Path) -> None:
    """With all else pinned, magnitude gives the same rows for both seeds, the second time out of the memo."""
    order = "order={name: by_sensitivity, pruning_ratios: [0.25, 0.5, 0.75]}"
    pinned = ("baseline.seed=0", "dataset.split_seed=0", "data_seed=0", "sweep.seed=[0, 1]")
    outcome, out = run_tiny(tmp_path, 0, "finetune.before_reward.steps=0", order, *pinned, text=STUDY)
    assert outcome.exit_code == 0
    tables = read_study(out)
    trials = tables.trials
    assert trials["num_order_candidates"].tolist() == [6, 6, 0, 0]  # a matched trial takes its partner's order
    seen, for_order = tables.candidates["images_scored"].sum(), 6 * trials["num_val_images"][0]
    assert trials["images_scored"].tolist() == [seen + for_order, 0, 0, 0]
    store = TrialStore(out, "tiny", trials["trial_id"][0])
    assert num_asked(store) == trials["num_candidates"][0] + 6
    assert Snapshots(store.folder / "state", "").num_order_candidates() == 6
    assert completed_trials(tables)["method"].tolist() == ["magnitude", "random", "random"]
    assert repeats_line(tables).startswith("Seeds 0, 1 give identical rows of magnitude: ")


def test_masks_of_the_order_are_in_the_budget(tmp_path: Path) -> None:
    order = "order={name: by_sensitivity, pruning_ratios: [0.25, 0.5, 0.75]}"
    outcome, out = run_tiny(tmp_path, 0, "finetune.before_reward.steps=0", order, "budget.candidates=4", text=STUDY)
    assert outcome.budget == "4 candidates"
    assert read_study(out).candidates.empty
    assert [num_asked(TrialStore(out, "tiny", name)) for name in outcome.statuses] == [4, 0]
    again, _ = run_tiny(tmp_path, 0, "finetune.before_reward.steps=0", order, text=STUDY)
    assert again.exit_code == 0
    tables = read_study(out)
    assert tables.trials["num_order_candidates"].tolist() == [6, 0]
    seen = tables.candidates["images_scored"].sum() + 6 * tables.trials["num_val_images"][0]
    assert tables.trials["images_scored"].tolist() == [seen, 0]  # the four paid for before the budget ended count once
