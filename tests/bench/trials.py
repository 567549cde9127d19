"""A completed trial on disk, made without a study: a small residual network with random weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from raprune.engine.inputs import Inputs
from raprune.engine.workload import Baseline, trace_model
from raprune.network.measure import count_macs, count_params
from raprune.network.surgery import shrink
from raprune.network.weights import save_safetensors
from raprune.results import TrialStore, write_json
from raprune.study.schema import ModelChoice
from tests.analysis.make_tables import STUDY, layer_row, manifest, trial_row, unfinished_row

MODEL = ModelChoice(name="resnet18", settings={"width": 0.0625})
SHAPE = (3, 16, 16)
SHORT = {"round_to": 4, "scoring_settings": json.dumps({"batch_size": 40, "threads": 1})}


def own(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}


def write_trial(study_dir: Path, residual: str = "independent", **changes: Any) -> Path:
    """The folder of a trial that keeps a random two thirds of every layer's filters."""
    torch.manual_seed(0)
    traced = trace_model(Inputs().network(MODEL, 10, SHAPE, fresh=True), MODEL, SHAPE, residual)
    masks = {layer: torch.rand(group.num_filters) < 0.67 for layer, group in traced.graph.groups.items()}
    for mask in masks.values():
        mask[0] = True
    smaller = shrink(traced, masks).eval()
    row = trial_row("t", model="resnet18", residual=residual, num_val_images=50, **{**SHORT, **changes})
    study_dir.mkdir(parents=True, exist_ok=True)
    write_json(study_dir / "manifest.json", manifest([row, unfinished_row("f", "failed", "ValueError: no")]))
    _write_baseline(study_dir / "baselines" / row["baseline_key"], traced.network)
    store = TrialStore(study_dir, STUDY, "t")
    (store.folder / "model").mkdir(parents=True)
    save_safetensors(smaller.state_dict(), store.folder / "model" / "model.safetensors")
    plan = {layer: mask.tolist() for layer, mask in masks.items()}
    write_json(store.folder / "model" / "plan.json", {"model": MODEL.model_dump(mode="json"), "keep_masks": plan})
    store.write_layer(0, own(layer_row("t", 0, num_kept=8, num_decided=6)), [], [])
    store.write_trial(own(row))
    return store.folder


def _write_baseline(folder: Path, network: torch.nn.Module) -> None:
    folder.mkdir(parents=True)
    save_safetensors(network.state_dict(), folder / "model.safetensors")
    sizes = (count_params(network), count_macs(network, SHAPE))
    found = asdict(Baseline("b0", "", 99.0, 98.0, 50, *sizes, 4000, 0.001, 0.4, 0.2, "percent", 10, SHAPE))
    write_json(folder / "baseline.json", {key: value for key, value in found.items() if key != "folder"})
