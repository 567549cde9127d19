"""Completed trials on disk, made without a study: random weights, random filters removed, scores really measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from raprune.artefact import plan_of, write_model
from raprune.baseline.prepare import score_split
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Baseline, trace_model
from raprune.network.lowrank.factor import Factor
from raprune.network.masks import KeepMask
from raprune.network.measure import count_macs, count_params
from raprune.network.state import State, to_arrays
from raprune.network.surgery import build, shrink
from raprune.network.weights import save_safetensors
from raprune.registry import SCORES
from raprune.results import TrialStore, write_json
from raprune.study.schema import Choice, ModelChoice
from tests.analysis.make_tables import STUDY, manifest, trial_row
from tests.bench.trials import own

OWN = ModelChoice(name="tests.export.own:build")
OWN_DATA = Choice(name="tests.export.own:data", settings={"num_train": 40})
SCORING = json.dumps({"batch_size": 7, "threads": 1})


def liven(network: nn.Module) -> None:
    """Norms and biases that matter, so that no channel is like another."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.3)  # type: ignore[arg-type]


def make_trial(
    study_dir: Path,
    model: ModelChoice = OWN,
    dataset: Choice = OWN_DATA,
    score_name: str = "top1_accuracy",
    residual: str = "independent",
    factors: dict[str, Factor] | None = None,
) -> Path:
    """The folder of a trial that keeps a random two thirds of every layer's filters."""
    torch.manual_seed(0)
    inputs = Inputs()
    splits = inputs.data(dataset)
    shape = splits.input_shape
    network = inputs.network(model, splits.num_classes, shape, fresh=True)
    liven(network)
    traced = trace_model(network, model, shape, residual)
    masks = {layer: torch.rand(group.num_filters) < 0.67 for layer, group in traced.graph.groups.items()}
    for mask in masks.values():
        mask[0] = True
    state = State.baseline("b0")
    for layer, mask in masks.items():
        state = state.cut(traced.graph, layer, KeepMask.of(mask))
    smaller = shrink(traced, masks).eval()
    if factors:
        weights = smaller.state_dict()
        for layer, factor in factors.items():
            n, m = weights[f"{layer}.weight"].flatten(1).shape
            kernel = weights.pop(f"{layer}.weight").shape[2:]
            weights[f"{layer}.first.weight"] = torch.randn(factor.rank, m).view(factor.rank, -1, *kernel)
            weights[f"{layer}.second.weight"] = torch.randn(n, factor.rank).view(n, -1, *(1 for _ in kernel))
            weights[f"{layer}.second.bias"] = weights.pop(f"{layer}.bias")
        state = State("b0", state.cuts, to_arrays(weights), factors)
        smaller = build(traced, masks, weights, factors).eval()
    score = SCORES.build(score_name, {})
    found = {f"{name}_score": score_split(smaller, splits, getattr(splits, name), score, 7) for name in ("val", "test")}
    row = trial_row(
        "t", residual=residual, score_name=score_name, scoring_settings=SCORING, score_settings="{}", **found,
        model=model.name, model_settings=json.dumps(model.settings),
        dataset=dataset.name, dataset_settings=json.dumps(dataset.settings),
    )  # fmt: skip
    study_dir.mkdir(parents=True, exist_ok=True)
    write_json(study_dir / "manifest.json", manifest([row]))
    sizes = (count_params(traced.network), count_macs(traced.network, shape))
    baseline = Baseline(
        "b0", "", 99.0, 98.0, len(splits.val), *sizes, 4000, 0.001, 0.4, 0.2, "percent", splits.num_classes, shape,
        pixels="float" if splits.normalised else "uint8", mean=splits.mean, std=splits.std,
        class_names=splits.class_names,
    )  # fmt: skip
    folder = study_dir / "baselines" / "b0"
    folder.mkdir(parents=True)
    save_safetensors(traced.network.state_dict(), folder / "model.safetensors")
    write_json(folder / "baseline.json", {key: value for key, value in asdict(baseline).items() if key != "folder"})
    store = TrialStore(study_dir, STUDY, "t")
    write_model(store.folder / "model", plan_of(row, model, baseline, traced.graph, state), smaller)
    store.write_trial(own(row))
    return store.folder
