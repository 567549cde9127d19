"""Exported networks give the trial's logits where raprune cannot be imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from raprune.artefact import TrialNetworks, open_network, open_trial
from raprune.artefact.plan import parse_plan
from raprune.errors import InputError
from raprune.export.exporting import Wanted, export_trial
from raprune.network.lowrank.factor import Factor
from raprune.study.schema import Choice, ModelChoice
from tests.export.conftest import OwnTrial
from tests.export.isolated import given, run_isolated
from tests.export.trials import make_trial
from tests.test_shape import ROOT

DIGITS = Choice(name="digits", settings={"num_val": 30, "num_test": 20})
SCENES = Choice(name="digit_scenes", settings={"size": 45, "num_train": 8, "num_val": 6, "num_test": 4})
ROUND_TRIPS = {
    "vgg16": ("vgg16", DIGITS, "top1_accuracy", "independent"),
    "resnet18 independent": ("resnet18", DIGITS, "top1_accuracy", "independent"),
    "resnet18 coupled": ("resnet18", DIGITS, "top1_accuracy", "coupled"),
    "segnet": ("segnet", SCENES, "global_accuracy", "independent"),
    "fcn32s": ("fcn32s", SCENES, "mean_iou", "independent"),
}


def agree(trial: TrialNetworks, file: Path, images: np.ndarray) -> None:
    """What the file gave elsewhere is what the network gives here."""
    network = trial.networks["pruned"]
    for size, found in zip((1, 5), given(file), strict=True):
        with torch.inference_mode():
            expected = network(torch.from_numpy(images[:size])).numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def noise(trial: TrialNetworks) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, *trial.input_shape), dtype=np.float32)


def test_a_network_of_ones_own_needs_no_raprune(own_trial: OwnTrial, tmp_path: Path) -> None:
    trial = own_trial.trial
    assert any(site.index(trial.traced.graph.kept(trial.keep_masks)).numel() for site in trial.traced.graph.sites)
    files = {}
    for name in ("pt2", "onnx"):
        exported = own_trial.exported[name]
        assert list(exported.differences) == [1, 5]
        assert max(of.largest for of in exported.differences.values()) <= 1e-4
        assert [(m.split, m.score, m.others) for m in exported.scores] == [
            (split, trial.row[f"{split}_score"], "") for split in ("val", "test")
        ]
        assert exported.checked_on == "validation images of tests.export.own:data"
        assert exported.note is None
        assert str(ROOT).encode() not in exported.file.read_bytes()  # nor any other path of this machine
        copy = tmp_path / exported.file.name
        shutil.copy(exported.file, copy)
        files[copy] = noise(trial)
    run_isolated(tmp_path, files)
    for file, images in files.items():
        agree(trial, file, images)


def test_the_plan_travels_with_the_network(own_trial: OwnTrial) -> None:
    trial, files = own_trial.trial, {name: exported.file for name, exported in own_trial.exported.items()}
    extra = {"plan.json": ""}
    torch.export.load(files["pt2"], extra_files=extra)
    metadata = {entry.key: entry.value for entry in onnx.load(files["onnx"]).metadata_props}
    assert parse_plan(extra["plan.json"], "pt2") == parse_plan(metadata["raprune_plan"], "onnx") == trial.plan.to_ship()
    opened = open_network(files["safetensors"], allow_import=True)
    assert opened.plan == trial.plan.to_ship()
    assert opened.plan.dataset.settings == {}  # they would name paths of this machine
    assert trial.plan.dataset.settings == {"num_train": 40}
    images = torch.from_numpy(noise(trial))
    with torch.inference_mode():
        assert torch.equal(opened.network(images), trial.networks["pruned"](images))
    with pytest.raises(InputError, match="has no raprune_plan in its header"):
        open_network(own_trial.folder / "model" / "model.safetensors")


def test_nothing_is_left_beside_the_files(own_trial: OwnTrial) -> None:
    folder = own_trial.exported["pt2"].file.parent
    assert sorted(file.name for file in folder.iterdir()) == ["net.onnx", "net.pt2", "net.safetensors"]


def test_factorised_layers_are_rebuilt(tmp_path: Path) -> None:
    factors = {"inner": Factor("filter_basis", 2), "head": Factor("svd", 1)}
    folder = make_trial(tmp_path / "made", factors=factors)
    trial = open_trial(folder, allow_import=True)
    assert trial.plan.factors == factors
    assert trial.networks["pruned"].get_submodule("inner.first").weight.shape[0] == 2
    exported = export_trial(folder, Wanted("pt2", tmp_path / "net.pt2"), allow_import=True)
    assert max(of.largest for of in exported.differences.values()) <= 1e-4
    assert all(measured.score == measured.row for measured in exported.scores)


@pytest.mark.slow
def test_every_network_needs_no_raprune(tmp_path: Path) -> None:
    files: dict[Path, np.ndarray] = {}
    trials = {}
    for name, (model, dataset, score, residual) in ROUND_TRIPS.items():
        settings = {"width": 0.0625} | ({"padding": "same"} if model == "fcn32s" else {})
        folder = make_trial(tmp_path / name, ModelChoice(name=model, settings=settings), dataset, score, residual)
        for suffix in ("pt2", "onnx"):
            file = tmp_path / f"{name}.{suffix}"
            exported = export_trial(folder, Wanted(suffix, file), allow_import=True)
            assert [m.score for m in exported.scores] == [m.row for m in exported.scores]
            trials[file] = open_trial(folder, allow_import=True)
            files[file] = noise(trials[file])
    run_isolated(tmp_path, files)
    for file, images in files.items():
        agree(trials[file], file, images)
