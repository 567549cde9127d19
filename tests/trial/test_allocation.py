"""How the bound is spent layer by layer: allowances in candidates, commits and rows; what is scored to find them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from raprune.errors import DamagedError
from raprune.network.costs import Costs
from raprune.network.measure import size_of
from raprune.network.surgery import shrink
from raprune.plugins.allocations.by_gain import ByGain
from raprune.plugins.methods.base import LayerView
from raprune.registry import REWARDS
from raprune.results import read_study
from raprune.study import TrialSpec, load_study
from raprune.study.schema import Choice, ModelChoice
from raprune.trial.credit import credit_of
from raprune.trial.prelude import schedule
from raprune.trial.snapshots import Snapshots
from tests.launch.runs import Watch, comparable, run_tiny
from tests.tiny import HEAD, engine_of, lively_vgg, own_labels, write_study

STUDY = (
    HEAD.replace("{name: vgg16, width: 0.0625}", "{import: 'tests.short:Short'}")
    + """
drop_bound: 8.0
order: low_to_high
credit: 0
method: magnitude
candidates_per_layer: 12
"""
)


def trial_of(**choices: Any) -> TrialSpec:
    kinds = {kind: Choice(name="x") for kind in ("dataset", "score", "method", "decision", "reward")}
    found = {kind: Choice(**choice) for kind, choice in choices.items()}
    return TrialSpec(study="s", model=ModelChoice(name="x"), drop_bound=2.0, **{**kinds, **found})


@pytest.fixture(scope="module")
def engine() -> Any:
    network = lively_vgg()
    return engine_of(network, own_labels(network, 40))


def test_counts_without_building_are_those_of_the_smaller_network(engine: Any) -> None:
    graph, generator = engine.graph, torch.Generator().manual_seed(0)
    costs = Costs(engine.traced, (3, 32, 32))
    for _ in range(3):
        cuts = {name: torch.rand(group.num_filters, generator=generator) < 0.6 for name, group in graph.groups.items()}
        for mask in cuts.values():
            mask[0] = True
        size = size_of(shrink(engine.traced, cuts), (3, 32, 32))
        assert (costs.macs(cuts), costs.params(cuts)) == (size.macs, size.params)
    whole = size_of(engine.traced.network, (3, 32, 32))
    assert (costs.macs({}), costs.params({})) == (whole.macs, whole.params)
    convolutions = sum(costs.own_macs(layer) for layer in graph.groups)
    assert 0.98 * whole.macs < convolutions < whole.macs  # the rest are linear layers


def arranged(engine: Any, asked: list[tuple[str, Tensor]], **choices: Any) -> Any:
    graph = engine.graph

    def view(layer: str) -> LayerView:
        return LayerView(layer, graph.group(layer).weights_NM(engine.weights))

    def score(layer: str, mask: Tensor) -> float:
        asked.append((layer, mask))
        return 90.0 - len(asked)

    layers = list(graph.groups)
    return schedule(trial_of(**choices), layers, view, Costs(engine.traced, (3, 32, 32)), score, 90.0)


def test_a_layer_may_use_its_share_and_those_before_it(engine: Any) -> None:
    order = {"name": "high_to_low", "settings": {}}
    shared = arranged(engine, [], order=order, allocation={"name": "shared"})
    assert shared.allowed == [1.0] * 13
    equal = arranged(engine, [], order=order, allocation={"name": "equal"})
    assert equal.order == list(reversed(engine.graph.groups))
    assert equal.allowed == pytest.approx([(step + 1) / 13 for step in range(13)])
    assert equal.allowed[-1] == 1.0


def test_order_and_allocation_share_what_they_score(engine: Any) -> None:
    for choices, number in (
        ({"order": {"name": "by_sensitivity"}, "allocation": {"name": "equal"}}, 39),
        ({"order": {"name": "low_to_high"}, "allocation": {"name": "by_gain"}}, 39),
        ({"order": {"name": "by_sensitivity"}, "allocation": {"name": "by_gain"}}, 39),
    ):
        asked: list[tuple[str, Tensor]] = []
        found = arranged(engine, asked, **choices)
        assert len(asked) == number
        assert found.allowed == sorted(found.allowed)
        assert found.allowed[-1] == 1.0


@pytest.mark.parametrize("broken", [[1.0], [0.0] * 13, [0.0, *[1.0] * 12], [-1.0] + [1.0] * 12, [float("nan")] * 13])
def test_a_broken_allocation_is_named(engine: Any, monkeypatch: pytest.MonkeyPatch, broken: list[float]) -> None:
    monkeypatch.setattr(ByGain, "shares", lambda self, layers, score_drop: broken)
    with pytest.raises(AssertionError, match="allocation by_gain must return a share"):
        arranged(engine, [], order={"name": "low_to_high"}, allocation={"name": "by_gain"})


def test_every_committed_layer_is_within_its_allowance(tmp_path: Path) -> None:
    _, out = run_tiny(tmp_path, 0, "allocation=equal", "guard=0", text=STUDY)
    tables = read_study(out)
    layers = tables.layers
    assert layers["drop_allowance"].tolist() == pytest.approx([8 / 3, 16 / 3, 8])
    baseline = tables.trials["baseline_val_score"][0]
    drops = baseline - layers["finetuned_val_score"]
    assert (drops <= layers["drop_allowance"] + 1e-9).all()
    assert drops.tolist() == pytest.approx(layers["drop_used"].cumsum().tolist())
    allowance = tables.candidates["layer"].map(dict(zip(layers["layer"], layers["drop_allowance"], strict=True)))
    scored = tables.candidates[tables.candidates["score"].notna()]
    reward = REWARDS.build("bounded_log", {})
    assert scored["reward"].tolist() == pytest.approx(
        [
            reward.reward(baseline - score, allowance[index], len(mask), sum(mask))
            for index, score, mask in scored[["score", "keep_mask"]].itertuples()
        ]
    )
    assert tables.trials["allocation"].tolist() == ["equal"]


def test_credit_is_lent_to_candidates_and_not_to_what_is_committed(tmp_path: Path) -> None:
    _, out = run_tiny(tmp_path, 0, "credit=20", "drop_bound=4", "layers=[features.10, features.40]", text=STUDY)
    tables = read_study(out)
    baseline = tables.trials["baseline_val_score"][0]
    assert (baseline - tables.layers["finetuned_val_score"] <= 4 + 1e-9).all()
    margin = tables.candidates["layer"].map(tables.layers.set_index("layer")["drop_margin"])  # for the guard
    lost = baseline - tables.candidates["score"] + margin
    lent = (lost > 4 + 1e-9) & (lost < 24 - 1e-9)
    assert lent.any()
    assert (tables.candidates["reward"][lent] > 0).all()
    assert tables.trials["credit"].tolist() == [20]


def test_what_is_saved_is_read_again_and_damage_is_refused(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "trials" / "t" / "state", "key")
    snapshots.save_order(["a", "b"], 3, 90, [0.25, 1.0])
    assert (snapshots.order(), snapshots.allowed()) == (["a", "b"], [0.25, 1.0])
    for wrong in ([], [0.5], [1.0, 0.5], [-1.0, 1.0], ["x", 1.0]):
        snapshots.save_order(["a", "b"], 3, 90, wrong)  # type: ignore[arg-type]
        with pytest.raises(DamagedError, match=r"order\.json is damaged: allowed must rise from 0 to 1; delete"):
            snapshots.allowed()
    snapshots.save_order(["a", "b"], 3, 90)
    assert snapshots.allowed() is None


def test_credit_follows_the_bound_and_needs_a_finetune(tmp_path: Path) -> None:
    def lent(*overrides: str, bound: float = 0.5) -> float:
        return load_study(write_study(tmp_path, STUDY), overrides).trials[0].lent(bound)

    assert lent("credit=auto") == 0.5
    assert lent("credit=auto", bound=15.0) == 4.0
    assert lent("credit=3") == 3.0
    assert lent("credit=auto", "finetune={after_layer: {steps: 0}}") == 0.0
    assert lent("credit=3", "finetune={after_layer: {steps: 0}}") == 0.0


def test_an_automatic_credit_follows_what_happened_to_the_decided_masks(tmp_path: Path) -> None:
    trial = load_study(write_study(tmp_path, STUDY), ["credit=auto"]).trials[0]

    def credit(*held: bool | None, bound: float = 1.0) -> float:
        return credit_of(trial, bound, [{"decided_held": flag} for flag in held])

    assert credit() == 1.0
    assert credit(True) == 1.5
    assert credit(True, True) == 2.0
    assert credit(True, True, False) == 1.0
    assert credit(False, False) == 0.25
    assert credit(True, None) == 1.5, "nothing was cut, or an older version decided"
    assert credit(*[True] * 20) == 8.0, "at most eight bounds"
    assert credit(bound=15.0) == 4.0
    fixed = trial.model_copy(update={"credit": 3.0})
    assert credit_of(fixed, 1.0, [{"decided_held": True}]) == 3.0
    untrained = load_study(write_study(tmp_path, STUDY), ["credit=auto", "finetune={after_layer: {steps: 0}}"]).trials[
        0
    ]
    assert credit_of(untrained, 1.0, [{"decided_held": True}]) == 0.0


def test_each_layer_says_what_it_was_lent_and_a_resumed_trial_is_lent_the_same(tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    overrides = ("credit=auto", "drop_bound=2")
    _, out = run_tiny(tmp_path / "whole", 0, *overrides, text=STUDY)
    layers = read_study(out).layers.sort_values("prune_step")
    rows = layers.to_dict("records")
    trial = load_study(write_study(tmp_path, STUDY), overrides).trials[0]
    assert layers["credit"].tolist() == [credit_of(trial, 2.0, rows[:step]) for step in range(len(rows))]
    assert layers["credit"].iloc[0] == 2.0
    assert layers["decided_held"].notna().any()
    with contextlib.suppress(KeyboardInterrupt):
        run_tiny(tmp_path / "resumed", 0, *overrides, text=STUDY, watch=Watch(interrupt))
    _, resumed = run_tiny(tmp_path / "resumed", 0, *overrides, text=STUDY)
    left, right = comparable(read_study(out)), comparable(read_study(resumed))
    pd.testing.assert_frame_equal(left["layers"], right["layers"])
    pd.testing.assert_frame_equal(left["candidates"], right["candidates"])


def test_the_last_drop_that_is_told_is_that_of_the_finished_network(tmp_path: Path) -> None:
    told: list[float] = []

    class Listening(Watch):
        def told(self, trial_id: str, progress: dict[str, Any]) -> None:
            told.extend([progress["val_score_drop"]] if "val_score_drop" in progress else [])

    _, out = run_tiny(
        tmp_path, 0, "finetune.at_end={steps: 8}", "drop_bound=90", "guard=0", text=STUDY, watch=Listening()
    )
    (row,) = read_study(out).trials.to_dict("records")
    assert told[-1] == row["val_score_drop"]
    assert len(told) == 3 + 1
