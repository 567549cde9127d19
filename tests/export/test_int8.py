"""Eight bits: calibrated on training images, measured, smaller."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime.quantization
import pytest
import torch

from raprune.engine.inputs import Inputs
from raprune.export import int8
from raprune.export import onnx as our_onnx
from raprune.export.checking import Images, scores_of
from raprune.export.exporting import Wanted, export_trial
from raprune.export.int8 import Calibration
from raprune.export.refusals import Refused
from tests.export.conftest import OwnTrial


def test_the_score_is_that_of_the_file(own_trial: OwnTrial, tmp_path: Path) -> None:
    trial, out = own_trial.trial, tmp_path / "net.onnx"
    exported = export_trial(own_trial.folder, Wanted("onnx", out, quantised=True), allow_import=True)
    assert exported.quantised is not None
    assert exported.quantised.num_images == 40
    assert exported.quantised.float_bytes == own_trial.exported["onnx"].num_bytes
    assert exported.differences == own_trial.exported["onnx"].differences
    run = our_onnx.load(out, 1)
    assert exported.quantised.scores == scores_of(trial, run, Images(trial, Inputs()))
    model = onnx.load(out)
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    assert [entry.key for entry in model.metadata_props] == ["raprune_plan"]
    for size in (1, 5):
        images = Images(trial, Inputs()).few(size)
        with torch.inference_mode():
            expected = trial.networks["pruned"](images)
        assert 0 < (run(images) - expected).abs().max() < 0.2 * expected.abs().max()
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_calibration_is_seeded_and_on_training_images(own_trial: OwnTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "CALIBRATION_IMAGES", 20)
    images, splits = Images(own_trial.trial, Inputs()), Inputs().data(own_trial.trial.plan.dataset)
    one, other = (Calibration(images, splits, 8) for _ in range(2))
    assert torch.equal(one.chosen, other.chosen)
    batches = []
    while (batch := one.get_next()) is not None:
        batches.append(torch.from_numpy(batch["images"]))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert torch.equal(torch.cat(batches), splits.train.images_BCHW[one.chosen])
    assert len(set(one.chosen.tolist())) == 20


def test_what_is_not_quantised_is_told(own_trial: OwnTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("an operation of yours\nand more")

    monkeypatch.setattr(onnxruntime.quantization, "quantize_static", fail)
    with pytest.raises(Refused, match=r"onnxruntime does not quantise the network: ValueError: an operation of yours$"):
        int8.quantise(own_trial.exported["onnx"].file, Images(own_trial.trial, Inputs()), 7, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
