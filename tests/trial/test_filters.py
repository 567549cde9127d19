"""What the layers table tells of each filter, against values computed in another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raprune.network.graph import Group
from raprune.network.graph.network import Member
from raprune.network.weights import load_safetensors
from raprune.plugins.methods.base import LayerView, Ranking
from raprune.results import read_study
from raprune.trial.filters import filter_columns
from tests.launch.runs import run_tiny

WEIGHT = torch.tensor([[1.0, -2.0], [0.5, 0.0], [-3.0, 1.0]]).reshape(3, 1, 1, 2)


def group(dim: int = 0) -> Group:
    return Group("conv", 3, (Member("conv", dim, np.arange(3)),), (), np.arange(3))


def columns(index: int = 0, ranking: Ranking | None = None, weight: torch.Tensor = WEIGHT) -> dict[str, object]:
    view = LayerView("conv", weight.flatten(1))
    return filter_columns(group(), index, view, weight, ranking or Ranking([2, 0, 1]))


def test_norms_places_and_probabilities_by_hand() -> None:
    found = columns(ranking=Ranking([2, 0, 1], keep_probs=torch.tensor([0.5, 0.25, 1.0], dtype=torch.float64)))
    assert found == {
        "filter_shape": [1, 1, 2],
        "filter_norms": [3.0, 0.5, 4.0],
        "filter_places": [1, 2, 0],
        "keep_probs": [0.5, 0.25, 1.0],
        "filter_weights": [1.0, -2.0, 0.5, 0.0, -3.0, 1.0],
    }


def test_what_is_not_known_is_null() -> None:
    later = columns(index=1, ranking=Ranking(()))
    assert later["filter_weights"] is later["filter_places"] is later["keep_probs"] is None
    infinite = columns(weight=WEIGHT / torch.tensor([1.0, 0.0, 1.0]).reshape(3, 1, 1, 1))
    assert infinite["filter_norms"] is infinite["filter_weights"] is None


def test_filters_of_a_transposed_convolution_are_in_its_second_dimension() -> None:
    weight = WEIGHT.transpose(0, 1)
    view = LayerView("conv", weight.transpose(0, 1).flatten(1))
    found = filter_columns(group(dim=1), 0, view, weight, Ranking(()))
    assert found["filter_shape"] == [1, 1, 2]
    assert found["filter_weights"] == [1.0, -2.0, 0.5, 0.0, -3.0, 1.0]


def test_layers_that_cannot_be_drawn_have_no_weights() -> None:
    assert columns(weight=torch.ones(3, 2, 1, 1))["filter_weights"] is None
    assert columns(weight=torch.ones(3, 1, 100, 100))["filter_weights"] is None


def test_a_study_records_what_its_methods_saw(tmp_path: Path) -> None:
    outcome, out = run_tiny(
        tmp_path, 0, "sweep.drop_bound=[8.0]", "layers=[features.0, features.10]", "candidates_per_layer=12"
    )
    assert outcome.exit_code == 0
    tables = read_study(out)
    (baseline,) = (out / "baselines").iterdir()
    weight = load_safetensors(baseline / "model.safetensors")["features.0.weight"]
    methods = tables.trials.set_index("trial_id")["method"]
    for row in tables.layers.to_dict("records"):
        method = methods[row["trial_id"]]
        assert len(row["filter_norms"]) == row["num_filters"]
        assert sorted(row["filter_places"]) == [*range(row["num_filters"])]
        if method == "magnitude":
            assert list(np.argsort(-row["filter_norms"], kind="stable")) == list(np.argsort(row["filter_places"]))
        if method == "random":  # matched: the first of its ranking stay
            assert list(row["keep_mask"]) == [place < row["num_kept"] for place in row["filter_places"]]
        if method == "agent":
            assert list(np.argsort(-row["keep_probs"], kind="stable")) == list(np.argsort(row["filter_places"]))
        else:
            assert row["keep_probs"] is None
        if row["layer"] == "features.0":
            assert row["filter_weights"] == pytest.approx(weight.flatten().tolist())
            assert list(row["filter_shape"]) == [1, 3, 3]
            assert row["filter_norms"] == pytest.approx(weight.abs().sum((1, 2, 3)).tolist())
        else:
            assert row["filter_weights"] is None
            assert row["filter_shape"][0] < 16  # earlier layers, as they were pruned
