"""What a study leaves: rows that obey the contract, artefacts that rebuild the network, a sealed test split."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from raprune.baseline.prepare import score_split
from raprune.engine import Engine
from raprune.engine.inputs import Inputs
from raprune.engine.split import channels_last
from raprune.network.graph import trace
from raprune.network.measure import count_macs, count_params
from raprune.network.surgery import load_tensors
from raprune.network.weights import load_safetensors
from raprune.registry import SCORES
from raprune.results import read_study
from raprune.study.schema import DataChoice, ModelChoice
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import assert_same_rows, run_tiny
from tests.short import WIDTHS
from tests.tiny import STUDY


@pytest.fixture(scope="module")
def tables(reference: Path):  # type: ignore[no-untyped-def]
    return read_study(reference)


def test_every_trial_completed(tables) -> None:  # type: ignore[no-untyped-def]
    assert tables.trials["status"].tolist() == ["completed"] * 6
    assert tables.trials["error"].isna().all()
    assert (tables.trials["num_layers"] == 3).all()


def test_the_drop_bound_contract_holds_for_every_committed_state(tables) -> None:  # type: ignore[no-untyped-def]
    searched = tables.trials[tables.trials["matched_trial_id"].isna()].set_index("trial_id")
    layers = tables.layers[tables.layers["trial_id"].isin(searched.index)]
    trial = searched.loc[layers["trial_id"]]
    drops = trial["baseline_val_score"].to_numpy() - layers["finetuned_val_score"].to_numpy()
    assert (drops <= trial["drop_bound"].to_numpy() + 1e-9).all()
    assert (searched["val_score_drop"] <= searched["drop_bound"] + 1e-9).all()
    assert (searched["pruning_ratio"] > 0).all()


def test_matched_trials_have_their_partners_ratios(tables) -> None:  # type: ignore[no-untyped-def]
    matched = tables.trials[tables.trials["matched_trial_id"].notna()]
    assert len(matched) == 2
    assert matched["drop_bound"].isna().all()
    layers = tables.layers.set_index(["trial_id", "layer"])
    for row in matched.to_dict("records"):
        ours, theirs = layers.loc[row["trial_id"]], layers.loc[row["matched_trial_id"]]
        assert ours["num_kept"].tolist() == theirs["num_kept"].tolist()
        assert ours.index.tolist() == theirs.index.tolist()
        assert ours["keep_mask"].map(list).tolist() != theirs["keep_mask"].map(list).tolist()
    assert not tables.candidates["trial_id"].isin(matched["trial_id"]).any()


def test_updates_are_the_means_of_their_candidates(tables) -> None:  # type: ignore[no-untyped-def]
    sampled = tables.candidates[tables.candidates["update"].notna()]
    keys = ["trial_id", "layer", "update"]
    assert (sampled.groupby(keys).size() == 5).all()
    by_hand = sampled.groupby(keys)["reward"].agg(["mean", "max"]).reset_index()
    joined = tables.updates.merge(by_hand, on=keys)
    assert len(joined) == len(tables.updates) == 2 * 3 * 4
    pd.testing.assert_series_equal(joined["reward_mean"], joined["mean"], check_names=False)
    pd.testing.assert_series_equal(joined["reward_max"], joined["max"], check_names=False)


def test_scores_are_null_exactly_under_the_floor(tables) -> None:  # type: ignore[no-untyped-def]
    frame = tables.candidates.merge(tables.trials[["trial_id", "drop_bound", "baseline_val_score"]], on="trial_id")
    psi = (frame["drop_bound"] - (frame["baseline_val_score"] - frame["score"])) / frame["drop_bound"]
    assert (psi.dropna() >= -1 - 1e-6).all()
    assert frame["score"].isna().any()
    assert (frame.loc[frame["score"].isna(), "reward"] <= 0).all()


def test_every_image_of_a_scored_mask_is_seen_once(tables) -> None:  # type: ignore[no-untyped-def]
    """Over all trials: what one of them exits early from, another with a looser bound goes on with."""
    frame = tables.candidates[tables.candidates["layer"] == "features.0"]  # decided first: all trials' state is one
    masks = frame.assign(mask=frame["keep_mask"].map(tuple)).groupby("mask")
    seen, known = masks["images_scored"].sum(), masks["score"].count() > 0
    assert (seen[known] == 200).all()
    assert (seen[~known] < 200).any()
    assert (frame.loc[frame["from_memo"], "images_scored"] == 0).all()
    assert (frame.loc[~frame["from_memo"], "images_scored"] > 0).all()
    assert (frame["scored_at"].isna() == frame["from_memo"]).all()
    assert frame["scored_at"].max() - frame["scored_at"].min() < 3600


def test_the_artefact_is_the_network_of_the_row(tables, reference: Path) -> None:  # type: ignore[no-untyped-def]
    inputs = Inputs()
    for row in tables.trials.to_dict("records"):
        folder = reference / "trials" / row["trial_id"] / "model"
        plan = json.loads((folder / "plan.json").read_text())
        splits = inputs.data(DataChoice(**plan["dataset"]))
        network = inputs.network(ModelChoice(**plan["model"]), splits.num_classes, splits.input_shape)
        load_tensors(network, load_safetensors(folder / "model.safetensors"))
        score = SCORES.build("top1_accuracy", {})
        network = channels_last(network).eval()
        assert score_split(network, splits, splits.test, score, 50) == row["test_score"]
        assert score_split(network, splits, splits.val, score, 50) == row["val_score"]
        assert count_params(network) == row["params"]
        assert count_macs(network, splits.input_shape) == row["macs"]
        kept = sum(sum(mask) for mask in plan["keep_masks"].values())
        total = sum(len(mask) for mask in plan["keep_masks"].values())
        assert len(trace(network, splits.input_shape).graph.groups) == len(WIDTHS)
        assert row["num_filters"] - row["num_kept"] == total - kept


def test_every_layers_agent_is_kept(tables, reference: Path) -> None:  # type: ignore[no-untyped-def]
    for row in tables.trials.query("method == 'agent'").to_dict("records"):
        for step in range(3):
            agent = load_safetensors(reference / "trials" / row["trial_id"] / "state" / f"{step}.agent.safetensors")
            assert {"policy.head.bias", "adam.head.bias.exp_avg", "rng"} <= set(agent)


def test_the_test_split_is_opened_once_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards see val: the engine's only way to test is ``measure``, called for it once at each trial's end."""
    opened: list[str] = []
    original = Engine.measure

    def counting(self, state, split):  # type: ignore[no-untyped-def]
        if split == "test":
            opened.append(state.version)
        return original(self, state, split)

    monkeypatch.setattr(Engine, "measure", counting)
    outcome, _ = run_tiny(tmp_path, 0, "sweep.drop_bound=[8.0]", "layers=[features.40]")
    assert outcome.exit_code == 0
    assert len(opened) == len(outcome.statuses) == 3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows(reference: Path, tmp_path: Path) -> None:
    _, out = run_tiny(tmp_path, 0, fresh=True)
    assert_same_rows(reference, out)


@pytest.mark.slow  # test_dominated.py compares two runs; engine/test_training_killed.py two trainings
def test_the_same_seed_gives_the_same_rows_of_a_small_study(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = run_tiny(tmp_path, 0, text=SMALL, fresh=True)
    assert_same_rows(small_study[1], out)


def test_another_seed_gives_other_masks(tables, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, out = run_tiny(tmp_path, 0, "seed=1", "sweep.drop_bound=[8.0]", "method=agent", "layers=[features.0]")
    other = read_study(out)
    ours = tables.candidates[tables.candidates["trial_id"].isin(tables.trials.query("method == 'agent'")["trial_id"])]
    one, two = (f.iloc[:20]["keep_mask"].map(tuple).tolist() for f in (ours, other.candidates))
    assert one != two


def test_each_decides_every_layer_alone(tmp_path: Path) -> None:
    from raprune.launch import run_study
    from raprune.preflight.checks import load_and_inspect
    from tests.launch.runs import Watch
    from tests.tiny import write_study

    overrides = [
        "model={import: 'tests.launch.chain:Chain'}",
        "layers=each",
        "method=magnitude",
        "drop_bound=4.0",
        "sweep.drop_bound=[4.0]",
        "finetune.after_layer.steps=0",
    ]
    plan, _ = load_and_inspect(write_study(tmp_path), overrides)
    assert len(plan.trials) == 4
    outcome = run_study(plan, tmp_path / "out", Watch(), num_evaluators=0)
    assert outcome.exit_code == 0
    found = read_study(tmp_path / "out")
    assert found.layers["layer"].nunique() == len(found.layers) == 4
    assert (found.layers["prune_step"] == 0).all()
    assert torch.tensor(found.trials["num_layers"].tolist()).eq(1).all()


def test_before_reward_finetune_and_score_floor(tmp_path: Path) -> None:
    overrides = [
        "finetune.before_reward={steps: 2}",
        "score_floor=80.0",
        "sweep.seed=[0]",
        "sweep.method=[{name: agent, max_updates: 2, min_updates: 2}]",
        "layers=[features.40]",
        "order=by_sensitivity",
    ]
    text = STUDY.replace("  drop_bound: [2.0, 8.0]\n", "")
    outcome, out = run_tiny(tmp_path, 0, *overrides, text=text)
    assert outcome.exit_code == 0
    row = read_study(out).trials.iloc[0]
    assert row["fidelity"] == "finetune=2 steps"
    assert row["drop_bound"] == pytest.approx(row["baseline_val_score"] - 80.0)
    assert row["val_score"] >= 80.0
