"""Ratios by the role of a layer, networks side by side."""

from __future__ import annotations

import json

import pytest

from analysis.figures import roles
from tests.analysis.make_tables import layer_row, make_tables, residual_layers, trial_row


def test_means_over_the_layers_of_a_role_then_over_seeds() -> None:
    trials = [trial_row("s0", model="resnet18"), trial_row("s1", model="resnet18", baseline_key="b1")]
    layers = residual_layers("s0", 0.1, 0.5, 0.2, 0.3, 0.7, 0.4) + residual_layers("s1", 0.3, 0.5, 0.2, 0.3, 0.3, 0.4)
    frame = roles.select(make_tables(trials, layers)).set_index("role")
    assert frame["pruning_ratio"].to_dict() == pytest.approx(
        {"conv": 0.2, "conv1": (0.6 + 0.4) / 2, "conv2": 0.3, "shortcut": 0.3}
    )
    assert frame["num_layers"].to_dict() == {"conv": 1, "conv1": 2, "conv2": 2, "shortcut": 1}
    assert frame.loc["conv1", ["lowest", "highest", "num_trials"]].tolist() == pytest.approx([0.4, 0.6, 2])


def test_a_network_without_blocks_has_no_such_figure_unless_beside_one_with() -> None:
    plain = trial_row("v")
    assert roles.select(make_tables([plain])).empty
    residual = trial_row("r", model="resnet18", baseline_settings=json.dumps({"path": "r.safetensors"}))
    layers = [layer_row("v", index, pruning_ratio=0.6) for index in range(3)]
    layers += residual_layers("r", 0.1, 0.5, 0.2, 0.3, 0.7, 0.4)
    frame = roles.select(make_tables([plain, residual], layers))
    found = frame.set_index(["network", "role"])["pruning_ratio"]
    assert found["vgg16", "conv"] == pytest.approx(0.6)
    assert found["resnet18", "conv1"] == pytest.approx(0.6)
    assert set(frame["context"]) == {""}  # one panel
    (axes,) = roles.draw(frame).axes
    names = [label.get_text().replace("\n", ", ") for label in axes.get_xticklabels()]
    assert names == [
        "conv, 3 layers, vgg16", "conv1, 2 layers, resnet18", "conv2, 2 layers, resnet18",
        "shortcut, 1 layer, resnet18", "conv, 1 layer, resnet18",
    ]  # fmt: skip


def test_bounds_are_the_colours_and_matched_trials_are_left_out() -> None:
    trials = [trial_row(f"b{bound:g}", model="resnet18", drop_bound=bound) for bound in (1.0, 4.0)]
    trials.append(trials[0] | {"trial_id": "m", "method": "random", "drop_bound": None, "matched_trial_id": "b1"})
    ratios = {"b1": 0.25, "b4": 0.5, "m": 0.9}
    layers = [row for of, ratio in ratios.items() for row in residual_layers(of, *[ratio] * 6)]
    frame = roles.select(make_tables(trials, layers))
    assert frame.groupby("bound")["pruning_ratio"].mean().to_dict() == pytest.approx({"1": 0.25, "4": 0.5})
    figure = roles.draw(frame)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "4"]
    assert figure.legends[0].get_title().get_text() == "drop bound (points)"


def test_residual_modes_are_panels() -> None:
    trials = [trial_row(mode, model="resnet18", residual=mode) for mode in ("independent", "coupled")]
    layers = [row for mode in ("independent", "coupled") for row in residual_layers(mode, *[0.5] * 6)]
    assert list(dict.fromkeys(roles.select(make_tables(trials, layers))["context"])) == ["independent", "coupled"]
