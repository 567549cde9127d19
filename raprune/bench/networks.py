"""A completed trial's folder to its two networks, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from raprune.errors import InputError
from raprune.graph import Traced
from raprune.measure import count_macs
from raprune.results import TrialStore
from raprune.study.parts import ScoringSpec
from raprune.study.schema import ModelChoice
from raprune.surgery import build, cut_tensors
from raprune.weights import read_state_dict
from raprune.workload import WEIGHTS_FILE, Baseline, build_network, trace_model

NETWORKS = ("baseline", "pruned")


@dataclass(frozen=True)
class BenchTrial:
    """A completed trial with its networks rebuilt, in eval mode, on the CPU."""

    store: TrialStore
    row: Mapping[str, Any]
    """The trial's."""
    traced: Traced
    """Holds the baseline network."""
    networks: Mapping[str, fx.GraphModule]
    """``baseline`` and ``pruned``."""
    keep_masks: Mapping[str, Tensor]
    macs: Mapping[str, int]
    """Network -> multiply-adds for one image."""
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    scoring: ScoringSpec

    @property
    def study_dir(self) -> Path:
        return self.store.folder.parent.parent

    @property
    def macs_ratio(self) -> float:
        """Old / new: how much faster multiply-adds alone would make it."""
        return self.macs["baseline"] / self.macs["pruned"]


def open_trial(folder: Path) -> BenchTrial:
    """The trial in ``folder`` (``results/<study>/trials/<trial_id>``).

    Raises :class:`InputError` where that is no completed trial's folder, or files are missing or do not fit.
    """
    store, row = _completed(folder)
    study_dir = store.folder.parent.parent
    baseline_dir = study_dir / "baselines" / row["baseline_key"]
    baseline = Baseline.read(baseline_dir)
    if baseline is None:
        raise InputError(f"{baseline_dir} holds no baseline (no baseline.json): the trial's study is not complete")
    weights_file, pruned_file = baseline_dir / WEIGHTS_FILE, store.folder / "model" / WEIGHTS_FILE
    weights, pruned = (read_state_dict(_present(file)) for file in (weights_file, pruned_file))
    model, keep_masks = _read_plan(_present(store.folder / "model" / "plan.json"))
    network = build_network(model, baseline.num_classes, baseline.input_shape, fresh=True)
    traced = trace_model(network, model, baseline.input_shape, str(row["residual"]))
    _check_fit(weights_file, weights, traced.network.state_dict(), model.name)
    traced.network.load_state_dict(weights)
    expected = cut_tensors(traced.graph, traced.network.state_dict(), {}, keep_masks)
    _check_fit(pruned_file, pruned, expected, model.name)
    smaller = build(traced, keep_masks, pruned)
    networks = {"baseline": standalone(traced.network), "pruned": standalone(smaller)}
    macs = {name: count_macs(network, baseline.input_shape) for name, network in networks.items()}
    scoring = ScoringSpec(**json.loads(row["scoring_settings"]))
    return BenchTrial(store, row, traced, networks, keep_masks, macs, baseline.input_shape, scoring)


def standalone(network: torch.nn.Module) -> fx.GraphModule:
    """``network`` with a graph that does not know who traced it: it can be stored whole and loaded elsewhere."""
    assert isinstance(network, fx.GraphModule)
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.graph, {}))
    return fx.GraphModule(network, graph).eval()


def _completed(folder: Path) -> tuple[TrialStore, Mapping[str, Any]]:
    """The folder's trial and its row; or a sentence that says which folder would do."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; a trial's is results/<study>/trials/<trial_id>")
    folder = folder.resolve()
    study_dir = folder.parent if folder.name == "trials" else folder
    if (study_dir / "manifest.json").is_file():
        raise InputError(f"{study_dir} is a study; name one of its trials:\n{_trials_of(study_dir)}")
    study_dir = folder.parent.parent
    planned = study_dir / "manifest.json"
    if folder.parent.name != "trials" or not planned.is_file():
        raise InputError(f"{folder} is no trial's folder; a trial's is results/<study>/trials/<trial_id>")
    store = TrialStore(study_dir, str(json.loads(planned.read_text(encoding="utf-8"))["study"]), folder.name)
    row = store.trial_row()
    if row is None or row["status"] != "completed":
        status = "has not ended yet" if row is None else f"is {row['status']}"
        why = f" (see {folder / 'error.txt'})" if (folder / "error.txt").is_file() else ""
        raise InputError(
            f"trial {folder.name} {status}{why}: only a completed trial has a network; "
            f"go on with raprune study {study_dir / 'study.yaml'} --out {study_dir}"
        )
    return store, row


def label(study_dir: Path, trial_id: str) -> str:
    """A trial's place in the sweep: ``order low_to_high, drop_bound 4.0, method agent``."""
    axes = json.loads((study_dir / "manifest.json").read_text(encoding="utf-8"))["axes"]
    return ", ".join(f"{axis} {value}" for axis, value in axes.get(trial_id, {}).items())


def _trials_of(study_dir: Path) -> str:
    """A line a trial: the command that benches it, and its place in the sweep."""
    manifest = json.loads((study_dir / "manifest.json").read_text(encoding="utf-8"))
    lines = []
    for trial_id in manifest["trial_ids"]:
        status = TrialStore(study_dir, manifest["study"], trial_id).status() or "not ended yet"
        said = label(study_dir, trial_id) + ("" if status == "completed" else f", {status}")
        lines.append(f"  raprune bench {study_dir / 'trials' / trial_id}  # {said}")
    return "\n".join(lines) or "  (it has none yet)"


def _present(file: Path) -> Path:
    if not file.is_file():
        raise InputError(f"{file} is missing: without it the trial's networks cannot be rebuilt")
    return file


def _read_plan(file: Path) -> tuple[ModelChoice, dict[str, Tensor]]:
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        masks = {layer: torch.tensor(mask, dtype=torch.bool) for layer, mask in plan["keep_masks"].items()}
        return ModelChoice(**plan["model"]), masks
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {type(error).__name__}: {error}") from None


def _check_fit(file: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], model: str) -> None:
    """Whether the weights in ``file`` are those of the network that the model gives today."""
    for name in sorted({*found, *expected}):
        shapes = [tuple(of[name].shape) if name in of else "nothing" for of in (found, expected)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{file}: {name} is {shapes[0]}, but {shapes[1]} in the network that model {model} gives")
