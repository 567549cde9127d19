"""A study to its trials: the grid, presets, matching, --set, and what a trial's id depends on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from raprune.study import StudyPlan, TrialSpec
from raprune.study.overrides import merge, set_path

from .texts import GOOD, HEAD, LAYERS, load, only_trial, told

SWEPT = f"""{HEAD}sweep:
  drop_bound: [1.0, 4.0]
  order: [low_to_high, by_sensitivity]
  method:
    - {{name: agent, max_updates: 40}}
    - magnitude
    - {{name: random, match: agent}}
"""


def key_of(trial: TrialSpec) -> tuple[float | None, str, str, bool]:
    return trial.drop_bound, trial.order.name, trial.method.name, trial.matched_trial_id is not None


def test_the_grid_is_complete_and_matched_trials_come_last(tmp_path: Path) -> None:
    trials = load(tmp_path, SWEPT).trials
    points = [*itertools.product([1.0, 4.0], ["low_to_high", "by_sensitivity"])]
    searched = {(*point, method, False) for point in points for method in ("agent", "magnitude")}
    matched = {(*point, "random", True) for point in points}
    assert {key_of(trial) for trial in trials} == searched | matched
    assert len(trials) == 12
    assert [trial.matched_trial_id is None for trial in trials] == [True] * 8 + [False] * 4


def test_matched_trials_follow_the_trial_at_their_own_point(tmp_path: Path) -> None:
    trials = load(tmp_path, SWEPT).trials
    by_id = {trial.trial_id: trial for trial in trials}
    for trial in trials:
        if trial.matched_trial_id:
            partner = by_id[trial.matched_trial_id]
            assert key_of(partner) == (trial.drop_bound, trial.order.name, "agent", False)
            assert "match" not in trial.method.settings


def test_labels_name_every_axis(tmp_path: Path) -> None:
    plan = load(tmp_path, SWEPT)
    labels = list(plan.axes.values())
    assert labels[0] == {"drop_bound": "1.0", "order": "low_to_high", "method": "agent"}
    assert labels[-1] == {"drop_bound": "4.0", "order": "by_sensitivity", "method": "random (matched)"}


def test_labels_tell_methods_of_one_name_apart(tmp_path: Path) -> None:
    methods = "[agent, {name: agent, hidden: 8, prior: l2}, {name: agent, hidden: 9, prior: l2}, magnitude]"
    plan = load(tmp_path, f"{HEAD}drop_bound: 2\nsweep: {{method: {methods}}}\n")
    labels = [axes["method"] for axes in plan.axes.values()]
    assert labels == ["agent", "agent hidden 8 prior l2", "agent hidden 9 prior l2", "magnitude"]


def test_swept_layers_are_labelled(tmp_path: Path) -> None:
    plan = load(tmp_path, f"{GOOD}sweep: {{layers: [each, all, [features.0, features.3]]}}\n")
    labels = [axes["layers"] for axes in plan.axes.values()]
    assert labels == [*LAYERS, "all", '["features.0", "features.3"]']


def test_settings_of_a_default_plugin_need_no_name(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}drop_bound: 2\nreward: {{floor: none}}\n", ["method.num_images=8"])
    assert trial.reward.model_dump() == {"name": "bounded_log", "settings": {"floor": "none"}}
    assert (trial.method.name, trial.method.settings["num_images"]) == ("taylor", 8)


def test_dotted_axes_reach_into_plugins_and_specs(tmp_path: Path) -> None:
    text = f"{HEAD}drop_bound: 2\nmethod: agent\nsweep:\n  method.max_updates: [31, 50]\n"
    text += "  finetune.after_layer.steps: [0, 3]\n  order: [by_sensitivity]\n"
    trials = load(tmp_path, text).trials
    found = {(t.method.settings["max_updates"], t.finetune.after_layer.steps, t.order.name) for t in trials}
    assert found == {(updates, steps, "by_sensitivity") for updates in (31, 50) for steps in (0, 3)}
    assert all(trial.finetune.after_layer.epochs is None for trial in trials)


def test_inner_axes_are_laid_over_outer_ones(tmp_path: Path) -> None:
    text = (
        f"{GOOD}sweep:\n  finetune.momentum: [0.5, 0.8]\n  finetune: [{{learning_rate: 0.1}}, {{learning_rate: 0.2}}]\n"
    )
    found = {(t.finetune.momentum, t.finetune.learning_rate) for t in load(tmp_path, text).trials}
    assert found == {(0.5, 0.1), (0.5, 0.2), (0.8, 0.1), (0.8, 0.2)}


def test_layers_each_gives_one_trial_a_layer(tmp_path: Path) -> None:
    plan = load(tmp_path, f"{GOOD}layers: each\n")
    assert [trial.layers for trial in plan.trials] == [[layer] for layer in LAYERS]
    assert [labels["layers"] for labels in plan.axes.values()] == LAYERS


def test_layers_each_matches_layer_by_layer(tmp_path: Path) -> None:
    text = f"{HEAD}drop_bound: 2\nlayers: each\nsweep: {{method: [magnitude, {{name: random, match: magnitude}}]}}\n"
    trials = load(tmp_path, text).trials
    by_id = {trial.trial_id: trial for trial in trials}
    pairs = [(by_id[t.matched_trial_id].layers, t.layers) for t in trials if t.matched_trial_id]
    assert pairs == [([layer], [layer]) for layer in LAYERS]


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (GOOD, ["drop_bound=3.5"], {"drop_bound": 3.5}),
        (GOOD, ["score_floor=90"], {"drop_bound": None, "score_floor": 90.0}),
        (GOOD, ["seed=1", "seed=2"], {"seed": 2}),
        (GOOD, ["finetune.learning_rate=1e-3"], {"finetune.learning_rate": 1e-3}),
        (GOOD, ["finetune.after_layer.steps=5"], {"finetune.after_layer.steps": 5}),
        (GOOD, ["method={name: agent, hidden: 8}"], {"method.name": "agent"}),
        (GOOD, ["layers=[features.0, features.3]"], {"layers": LAYERS}),
        (f"{HEAD}method: magnitude\nsweep: {{drop_bound: [1, 2]}}\n", ["drop_bound=4"], {"drop_bound": 4.0}),
        (f"{HEAD}method: magnitude\nsweep: {{drop_bound: [1, 2]}}\n", ["score_floor=80"], {"score_floor": 80.0}),
        (f"{HEAD}drop_bound: 2\nsweep: {{method: [agent], method.hidden: [8, 9]}}\n", ["method=random"], {}),
        (f"{GOOD}sweep: {{seed: [1, 2]}}\n", ["sweep.seed=[7]"], {"seed": 7}),
        (GOOD, ["sweep.drop_bound=[7.0]"], {"drop_bound": 7.0}),
        (GOOD, ["sweep.score_floor=[70]"], {"score_floor": 70.0, "drop_bound": None}),
        (f"{GOOD}sweep: {{seed: [1, 2], order: [typo]}}\n", ["sweep={}"], {"seed": 0}),
        (GOOD, ["name=other", "description='1'"], {"study": "other"}),
        (GOOD, ["baseline.checkpoint=$X/a=b.pt"], {"baseline.checkpoint": "$X/a=b.pt"}),
    ],
)  # fmt: skip
def test_set(tmp_path: Path, text: str, overrides: list[str], expected: dict[str, Any]) -> None:
    trial = only_trial(tmp_path, text, overrides)
    for path, value in expected.items():
        found: Any = trial
        for part in path.split("."):
            found = getattr(found, part)
        assert found == value


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["seed"], ["--set: must be key=value, such as seed=1; got 'seed'"]),
        (["=3", "a..b=3", ".=1"], ["got '=3'", "got 'a..b=3'", "got '.=1'"]),
        (["seed={a: 1"], ["--set: seed: is not YAML"]),
        (["seed=null"], ["--set: seed: has no value"]),
        (["seed=3\nfoo: 4"], ["--set: seed: must be one value"]),
        (["seed=!!int 3"], ["--set: seed: must have no YAML tag"]),
        (["seed=x", "drop_bound=0.01"], ["seed: must be an integer; got 'x'", "--set: drop_bound: is in percentage"]),
        (["drop_bond=3"], ["--set: drop_bond: is not a key here; did you mean 'drop_bound'?"]),
        (["drop_bound.x=3"], ["--set: drop_bound: must be a number; got {'x': 3}"]),
        (["finetune.momentum=2", "bad"], ["--set: finetune.momentum: must be below 1", "got 'bad'"]),
        (["sweep=3"], ["--set: sweep: must be a mapping"]),
        (["sweep=3", "sweep.seed=3"], ["sweep.seed: must be a list of at least one value; got 3; did you mean [3]?"]),
        (["sweep.sed=[3]"], ["--set: sweep.sed: is not a key of a trial; did you mean 'seed'?"]),
        (["sweep.seed=[1, x]"], ["--set: sweep.seed[1]: must be an integer; got 'x'"]),
    ],
)  # fmt: skip
def test_set_with_nonsense(tmp_path: Path, overrides: list[str], fragments: list[str]) -> None:
    said = told(tmp_path, GOOD, overrides)
    for fragment in fragments:
        assert fragment in said


def test_the_study_as_run_gives_the_same_trials(tmp_path: Path) -> None:
    plan = load(tmp_path, SWEPT, ["sweep.drop_bound=[1, 3]", "description='1e3'", "finetune.weight_decay=1e-5"])
    again = load(tmp_path, plan.text)
    assert again.trials == plan.trials
    assert again.axes == plan.axes


SAME = ["name=other", "description=words", "evaluators.count=3", "evaluators.cache_gib=9.5", "evaluators.device=cpu"]
OTHER = [
    "seed=1", "data_seed=1", "drop_bound=2.5", "score_floor=90", "scoring.threads=2", "scoring.batch_size=10",
    "model.width=0.0625",
    "reward={name: bounded_log, floor: -2.0}", "reward={name: bounded_log, floor: none}", "finetune.learning_rate=0.02",
    "finetune.before_reward.steps=1", "finetune.after_layer.epochs=2", "finetune.at_end.epochs=1", "baseline.epochs=3",
    "baseline.checkpoint=a.pt", "baseline.seed=1", "order=by_sensitivity", "method=random", "decision=trim",
    "layers=[features.0]", "residual=coupled", "dataset={name: digits, num_val: 400}",
]  # fmt: skip


@pytest.mark.parametrize("override", SAME)
def test_trial_id_ignores_where_it_runs(tmp_path: Path, override: str) -> None:
    assert only_trial(tmp_path, GOOD, [override]).trial_id == only_trial(tmp_path).trial_id


def test_trial_id_changes_with_whatever_changes_numbers(tmp_path: Path) -> None:
    ids = {override: only_trial(tmp_path, GOOD, [override]).trial_id for override in ["seed=0", *OTHER]}
    assert len(set(ids.values())) == len(OTHER) + 1
    assert ids["seed=0"] == only_trial(tmp_path).trial_id


def test_trial_id_does_not_depend_on_how_it_is_written(tmp_path: Path) -> None:
    text = GOOD.replace("method: magnitude", "method: {name: magnitude}\ndecision: {name: prefix}").replace("2.0", "2")
    assert (
        only_trial(tmp_path, f"{text}seed: 0\nfinetune: {{momentum: 0.9}}\n").trial_id == only_trial(tmp_path).trial_id
    )


def test_baseline_key_depends_on_the_baseline_alone(tmp_path: Path) -> None:
    keys = {
        o: only_trial(tmp_path, GOOD, [o]).baseline_key
        for o in ["seed=1", "drop_bound=3", "method=random", "baseline.seed=1"]
    }
    assert keys["seed=1"] == keys["drop_bound=3"] == keys["method=random"] == only_trial(tmp_path).baseline_key
    assert keys["baseline.seed=1"] != keys["seed=1"]


def test_problems_stand_at_the_value_of_the_sweep(tmp_path: Path) -> None:
    plan: StudyPlan = load(tmp_path, f"{HEAD}method: magnitude\nsweep:\n  drop_bound:\n    - 1.0\n    - 2.0\n")
    second = plan.problem(plan.trials[1], "drop_bound", "is bad")
    assert (second.where.split(":")[-1], second.path) == ("8", "sweep.drop_bound[1]")
    assert plan.problem(plan.trials[0], "model.width", "is bad").where.split(":")[-1] == "2"


def test_merge_lays_one_mapping_over_another() -> None:
    under = {"a": {"epochs": 1, "rate": 2}, "b": [1], "drop_bound": 3}
    assert merge(under, {"a": {"steps": 5}, "score_floor": 9}) == {
        "a": {"steps": 5, "rate": 2},
        "b": [1],
        "score_floor": 9,
    }
    assert merge(under, {"a": {"epochs": 4, "steps": 5}})["a"] == {"epochs": 4, "steps": 5, "rate": 2}
    assert under["a"] == {"epochs": 1, "rate": 2}


def test_set_path_opens_bare_names() -> None:
    data: dict[str, Any] = {"method": "agent"}
    set_path(data, "method.hidden", 3)
    set_path(data, "a.b.c", 1)
    assert data == {"method": {"name": "agent", "hidden": 3}, "a": {"b": {"c": 1}}}
