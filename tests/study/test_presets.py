"""What the presets set beneath a study's own keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from .texts import HEAD, load, only_trial


def test_defaults_without_a_preset(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}drop_bound: 2\n")
    chosen = [trial.method, trial.decision, trial.order, trial.allocation, trial.reward, trial.score]
    assert [choice.name for choice in chosen] == [
        "taylor", "search", "high_to_low", "shared", "bounded_log", "top1_accuracy",
    ]  # fmt: skip
    assert trial.guard > 0
    assert trial.layers == "all"
    assert (trial.drop_bound, trial.score_floor) == (2.0, None)
    assert trial.reward.settings == {"floor": -1.0}
    assert trial.fidelity_name == "forward only"


def test_preset_paper_pins_the_published_setting(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}drop_bound: 2\npreset: paper\n")
    agent = trial.method.settings
    published = {
        "masks_per_update": 5, "learning_rate": 0.01, "max_updates": 100, "normalise": "mean_std",
        "initial_keep_probability": 0.5, "magnitude_prior": 0.0,
    }  # fmt: skip
    assert {key: agent[key] for key in published} == published
    assert (trial.decision.name, trial.decision.settings) == ("reward", {"prefixes": False})
    assert trial.reward.settings == {"floor": "none"}
    assert trial.finetune.before_reward.epochs == 1
    assert trial.finetune.after_layer.epochs == 1
    assert trial.fidelity_name == "finetune=1 epochs"


def test_preset_fast_scores_approximately_and_asks_for_less(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}drop_bound: 2\npreset: fast\n")
    usual = only_trial(tmp_path, f"{HEAD}drop_bound: 2\n")
    assert trial.fidelity_name == "recalibrate=2 batches"
    assert (trial.candidates_per_layer, usual.candidates_per_layer) == (60, 100)
    for part in ("method", "decision", "order", "finetune"):
        assert getattr(trial, part) == getattr(usual, part)
    own = only_trial(tmp_path, f"{HEAD}drop_bound: 2\npreset: fast\nfidelity: {{finetune: full}}\n")
    assert own.fidelity.is_full


def test_the_agent_of_preset_fast_learns_little_and_takes_the_highest_reward(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}drop_bound: 2\npreset: fast\nmethod: agent\n")
    usual = only_trial(tmp_path, f"{HEAD}drop_bound: 2\nmethod: agent\n")
    assert trial.method.settings == {**usual.method.settings, "min_updates": 5, "max_updates": 10}
    assert (trial.decision.name, trial.decision.settings) == ("reward", {"prefixes": True})


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", 3), ("postprocess: {low_rank: {}}", 3), ("postprocess: {joint: {passes: 1}}", 1),
        ("postprocess: {joint: {passes: 0}}", None), ("decision: prefix", None), ("method: magnitude", None),
        ("method: magnitude\ndecision: search", 3), ("layers: [features.0, features.3]", 3),
        ("layers: [features.0]", None), ("preset: fast", None),
        ("finetune: {after_layer: {steps: 0}}", None), ("preset: paper\ndecision: search", None),
    ],
)  # fmt: skip
def test_the_joint_pass_of_the_default_preset(tmp_path: Path, text: str, passes: int | None) -> None:
    joint = only_trial(tmp_path, f"{HEAD}drop_bound: 2\n{text}\n").postprocess.joint
    assert (None if joint is None else joint.passes) == passes


def test_a_matched_trial_has_its_partners_joint_pass(tmp_path: Path) -> None:
    sweep = "drop_bound: 2\nsweep: {method: [taylor, magnitude, {name: magnitude, match: taylor}]}\n"
    searched, prefix, matched = load(tmp_path, HEAD + sweep).trials
    assert prefix.postprocess.joint is None
    assert matched.postprocess == searched.postprocess
    assert matched.postprocess.joint is not None


def test_the_file_wins_over_its_preset(tmp_path: Path) -> None:
    text = f"{HEAD}drop_bound: 2\npreset: paper\nmethod: {{name: agent, max_updates: 50}}\n"
    trial = only_trial(
        tmp_path, f"{text}finetune: {{before_reward: {{steps: 7}}}}\nreward: {{name: bounded_log, floor: -2.0}}\n"
    )
    assert trial.method.settings["max_updates"] == 50
    assert trial.decision.name == "reward"
    assert trial.finetune.before_reward.model_dump() == {"epochs": None, "steps": 7}
    assert trial.finetune.after_layer.epochs == 1
    assert trial.reward.settings == {"floor": -2.0}
