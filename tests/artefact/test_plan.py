"""plan.json: complete, readable in every version, and refused with a message if it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from raprune.artefact import TrialNetworks, open_trial, write_model
from raprune.artefact.plan import FROM_PIXELS, parse_plan
from raprune.artefact.rebuilding import rebuild, trace_plan
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.network.lowrank.factor import Factor
from raprune.network.weights import load_safetensors
from raprune.results import read_study, write_json
from tests.short import IMPORT, WIDTHS


def test_a_studys_plan_tells_all(reference: Path) -> None:
    tables = read_study(reference)
    row = tables.trials.iloc[0]
    layers = tables.layers[tables.layers["trial_id"] == row["trial_id"]]
    folder = reference / "trials" / row["trial_id"] / "model"
    found = json.loads((folder / "plan.json").read_text())
    assert found["format_version"] == 4
    assert (found["study"], found["trial_id"]) == ("tiny", row["trial_id"])
    assert found["model"] == {"name": IMPORT, "settings": {}, "whole": [], "output": None}
    assert (found["residual"], found["dataset"]["name"]) == ("independent", "digits")
    assert (found["input_shape"], found["num_classes"]) == ([1, 32, 32], 10)
    mean, std = found["preprocessing"].pop("mean"), found["preprocessing"].pop("std")
    assert (len(mean), len(std)) == (1, 1)
    assert found["preprocessing"] == {"layout": "NCHW", "pixel_range": [0, 255], "formula": FROM_PIXELS}
    for name in ("val_score", "test_score", "baseline_val_score", "baseline_test_score"):
        assert found["score"][name] == row[name]
    assert (found["params"], found["macs"]) == (row["params"], row["macs"])
    assert set(layers["layer"]) == {"features.0", "features.10", "features.40"}
    cut = layers[layers["num_kept"] < layers["num_filters"]]
    assert set(found["keep_masks"]) == set(cut["layer"])
    assert len(cut) > 0
    assert len(found["num_filters"]) == len(found["num_kept"]) == len(WIDTHS)
    for layer, mask in found["keep_masks"].items():
        assert (len(mask), sum(mask)) == (found["num_filters"][layer], found["num_kept"][layer])
    assert found["num_kept"]["features.37"] == found["num_filters"]["features.37"]
    assert found["factors"] == {}


def test_the_network_is_rebuilt_from_plan_and_weights_alone(reference: Path) -> None:
    folder = reference / "trials" / read_study(reference).trials["trial_id"].iloc[0]
    plan = parse_plan((folder / "model" / "plan.json").read_text(), "it")
    network = rebuild(plan, trace_plan(plan, Inputs()), load_safetensors(folder / "model" / "model.safetensors"), "it")
    images = torch.randn(3, *plan.input_shape)
    with torch.inference_mode():
        assert torch.equal(network(images), open_trial(folder, allow_import=True).networks["pruned"](images))


def test_a_plan_of_the_first_version_is_completed(independent: TrialNetworks) -> None:
    """The made trials have one."""
    plan = independent.plan
    assert (plan.format_version, plan.study, plan.trial_id) == (4, "made", "t")
    assert (plan.residual, plan.input_shape, plan.num_classes) == ("independent", (3, 16, 16), 10)
    assert plan.score.val_score == independent.row["val_score"]
    assert plan.preprocessing is None  # nor does its baseline tell
    assert plan.num_kept["conv1"] == int(independent.keep_masks["conv1"].sum())
    assert parse_plan(plan.model_dump_json(), "it") == plan


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 9}, "has format version 9; this raprune reads up to 4"),
        ({"num_classes": "ten"}, "is damaged: num_classes: Input should be a valid integer"),
        ({"residual": None}, "is damaged: residual: "),
        ({"color": "red"}, "is damaged: color: Extra inputs are not permitted"),
        ({"keep_masks": {"conv1": [True]}}, "its plan has 1 filter for conv1, but 4 in the network"),
        ({"keep_masks": {"conv9": [True]}}, "its plan has 1 filter for conv9, but no such layer in the network"),
        ({"factors": {"fc": {"scheme": "magic", "rank": 1}}}, "its plan has fc factorised by magic, which the network"),
        ({"factors": {"bn1": {"scheme": "svd", "rank": 1}}}, "its plan has bn1 factorised by svd, which the network"),
        ({"factors": {"fc": {"scheme": "svd", "rank": 1}}}, r"fc.bias is \(10,\), but nothing in the network"),
    ],
)  # fmt: skip
def test_a_plan_that_is_wrong_is_told(
    independent: TrialNetworks, folder: Path, change: dict[str, object], sentence: str
) -> None:
    write_json(folder / "model" / "plan.json", json.loads(independent.plan.model_dump_json()) | change)
    with pytest.raises(InputError, match=sentence):
        open_trial(folder)


def test_a_plan_that_is_no_json_is_told(folder: Path) -> None:
    (folder / "model" / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan.json is damaged: JSONDecodeError"):
        open_trial(folder)


def test_factors_are_written_and_read(independent: TrialNetworks, tmp_path: Path) -> None:
    plan = independent.plan.model_copy(update={"factors": {"fc": Factor("svd", 3)}})
    write_model(tmp_path, plan, independent.networks["pruned"])
    text = (tmp_path / "plan.json").read_text()
    assert json.loads(text)["factors"] == {"fc": {"scheme": "svd", "rank": 3}}
    assert parse_plan(text, "it").model_copy(update={"fingerprints": None}) == plan
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o044 == (tmp_path / "plan.json").stat().st_mode & 0o044
