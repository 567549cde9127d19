"""The labels tell trials apart that are no repetitions of one another."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from analysis.figures import layer_ratios
from analysis.frames import completed_trials
from tests.analysis.make_tables import layer_row, make_tables, trial_row


def test_settings_are_not_averaged() -> None:
    few, many = ({"method_settings": json.dumps({"masks_per_update": number, "hidden": 64})} for number in (5, 10))
    trials = [trial_row("few", pruning_ratio=0.2, **few), trial_row("many", pruning_ratio=0.6, **many)]
    labelled = completed_trials(make_tables(trials))
    assert list(labelled["method"]) == ["agent (masks_per_update 5)", "agent (masks_per_update 10)"]
    assert set(labelled["context"]) == {""}


def test_decision_stages_of_one_method_are_not_averaged() -> None:
    taylor, agent = {"method": "taylor"}, {"method": "agent", "decision": "trim"}
    stages = {"taylor, prefix": 0.2, "taylor, search (proposals 2)": 0.4, "taylor, search (proposals 8)": 0.6}
    trials = [
        trial_row("p", **taylor, decision="prefix", decision_settings="{}", pruning_ratio=0.2),
        *(
            trial_row(f"s{number}", **taylor, decision="search", pruning_ratio=ratio)
            | {"decision_settings": json.dumps({"proposals": number})}
            for number, ratio in ((2, 0.4), (8, 0.6))
        ),
    ]
    layers = [layer_row(row["trial_id"], 0, pruning_ratio=row["pruning_ratio"]) for row in trials]
    frame = layer_ratios.select(make_tables(trials, layers))
    assert dict(zip(frame["method"], frame["pruning_ratio"], strict=True)) == stages
    usual = [trials[1], trial_row("a", **agent, decision_settings="{}")]
    assert list(completed_trials(make_tables(usual))["method"]) == ["taylor", "agent"]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("allocation", ("shared", "by_macs"), ["shared", "by_macs"]),
        ("candidates_per_layer", (40, None, 1000), ["40 candidates per layer", "", "1,000 candidates per layer"]),
        ("images_per_layer", (2000, 40000), ["2,000 images per layer", "40,000 images per layer"]),
        ("guard", (0.0, 0.3), ["guard 0", "guard 0.3"]),
        ("warranty", (None, 0.95), ["", "warranty 0.95"]),
    ],
)
def test_trials_with_other_shares_of_the_bound_or_limits_are_not_averaged(
    column: str, values: Sequence[object], expected: list[str]
) -> None:
    ratios = [0.2, 0.4, 0.6][: len(values)]
    trials = [
        trial_row(str(ratio), **{column: value}, pruning_ratio=ratio)
        for value, ratio in zip(values, ratios, strict=True)
    ]
    layers = [layer_row(str(ratio), 0, pruning_ratio=ratio) for ratio in ratios]
    assert list(completed_trials(make_tables(trials))["context"]) == expected
    frame = layer_ratios.select(make_tables(trials, layers))
    assert sorted(frame["pruning_ratio"]) == ratios


def test_seeds_are_no_context_and_fine_tuning_is() -> None:
    def settings(seed: int, rate: float) -> dict[str, str]:
        lengths = {"before_reward": {"steps": seed}, "after_layer": {"epochs": 1}, "learning_rate": rate}
        return {"baseline_settings": json.dumps({"seed": seed}), "finetune_settings": json.dumps(lengths)}

    seeds = [trial_row(str(seed), seed=seed, baseline_seed=seed, **settings(seed, 0.1)) for seed in range(3)]
    assert set(completed_trials(make_tables(seeds))["context"]) == {""}
    rates = [trial_row(str(rate), **settings(0, rate)) for rate in (0.1, 0.2)]
    assert list(completed_trials(make_tables(rates))["context"]) == ["learning_rate 0.1", "learning_rate 0.2"]


def test_decided_layers_are_the_scope_where_they_differ() -> None:
    trials = [trial_row("one", layers=json.dumps(["features.0"])), trial_row("all", layers="all")]
    assert list(completed_trials(make_tables(trials))["scope"]) == ["features.0", "all"]
    assert list(completed_trials(make_tables(trials[:1]))["scope"]) == [""]


def test_joint_passes_that_follow_from_the_method_are_no_context() -> None:
    """As in the default preset, where ``search`` has them and ``prefix`` has not; a matched trial has its partner's."""
    passes, none = '{"joint": {"passes": 3}, "low_rank": null}', '{"joint": null, "low_rank": null}'
    rows = [
        trial_row("searched", method="taylor", postprocess_settings=passes),
        trial_row("prefix", method="magnitude", postprocess_settings=none),
        trial_row("matched", method="magnitude", matched_trial_id="searched", postprocess_settings=passes),
    ]
    assert set(completed_trials(make_tables(rows))["context"]) == {""}
    both = [*rows, trial_row("alone", method="taylor", postprocess_settings=none)]
    assert {"", "joint"} == set(completed_trials(make_tables(both))["context"])


def test_a_credit_that_follows_from_the_bound_is_no_context() -> None:
    """As ``credit: auto`` begins with the bound: bounds 1 and 4 stand on one curve."""
    follows = [trial_row(f"t{bound:g}", drop_bound=bound, credit=bound) for bound in (1.0, 4.0)]
    assert set(completed_trials(make_tables(follows))["context"]) == {""}
    both = [*follows, trial_row("fixed", drop_bound=4.0, credit=2.0)]
    assert {"credit 1", "credit 4", "credit 2"} == set(completed_trials(make_tables(both))["context"])
