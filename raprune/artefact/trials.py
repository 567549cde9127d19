"""Rebuilds a completed trial's two networks from its folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, fx

from raprune.artefact.keeping import removed_by
from raprune.artefact.plan import PLAN_FILE, NetworkPlan, read_plan
from raprune.artefact.rebuilding import check_fit, rebuild, standalone, trace_plan
from raprune.baseline.origins import origin_of
from raprune.engine.inputs import Inputs, using
from raprune.engine.workload import WEIGHTS_FILE, Baseline, baseline_weights
from raprune.errors import InputError
from raprune.network.graph import Traced
from raprune.network.graph.ambient import plain_torch
from raprune.network.measure import count_macs
from raprune.network.weights import load_safetensors
from raprune.results import TrialStore, allow_options, read_manifest, read_text
from raprune.study.allowing import AllowImport, check_imports
from raprune.study.parts import ScoringSpec
from raprune.system.store import shown

NETWORKS = ("baseline", "pruned")


@dataclass(frozen=True)
class TrialNetworks:
    """A trial that has ended, with its networks rebuilt, in eval mode, on the CPU."""

    store: TrialStore
    row: Mapping[str, Any]
    """The trial's."""
    plan: NetworkPlan
    traced: Traced
    """Holds the baseline network."""
    networks: Mapping[str, fx.GraphModule]
    """``baseline`` and ``pruned``."""
    keep_masks: Mapping[str, Tensor]
    macs: Mapping[str, int]
    """Network -> multiply-adds for one image."""
    scoring: ScoringSpec
    data_fingerprint: str = ""
    """Of the train and val that it was scored on; empty where its baseline is of an earlier version."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.plan.input_shape

    @property
    def study_dir(self) -> Path:
        return self.store.folder.parent.parent

    @property
    def macs_ratio(self) -> float:
        """Old / new: how much faster multiply-adds alone would make it."""
        return self.macs["baseline"] / self.macs["pruned"]


@plain_torch()
def open_trial(
    folder: Path,
    command: str = "bench",
    allow_import: AllowImport = (),
    imports: Collection[str] = ("model",),
    inputs: Inputs | None = None,
    options: str = "",
) -> TrialNetworks:
    """The trial in ``folder`` (``results/<study>/trials/<trial_id>``).

    A results folder may be somebody else's: ``allow_import`` are the import paths that its files may name, of the
    kinds among ``imports`` that the caller builds, or True for all. The network comes from ``inputs``.

    Raises :class:`InputError` where that is no folder of a trial with a network, or files are missing or do not fit;
    for a study's folder it lists its trials, as ``raprune <command>`` takes them, with ``options``, such as
    `` --out small.pt2``.
    """
    store, row = _ended(folder, command, options)
    study_dir = store.folder.parent.parent
    baseline_dir = study_dir / "baselines" / row["baseline_key"]
    baseline = Baseline.read(baseline_dir)
    if baseline is None:
        raise InputError(f"{baseline_dir} contains no baseline (no baseline.json): the trial's study is not complete")
    plan_file, pruned_file = (store.folder / "model" / name for name in (PLAN_FILE, WEIGHTS_FILE))
    if (setting := removed_by(store.folder)) is not None:
        raise InputError(_how_to_get_back(store.folder, setting))
    weights_file = _present(baseline_dir / WEIGHTS_FILE)
    _check_origin(store, baseline, baseline_dir)
    weights, pruned = baseline_weights(baseline_dir, baseline), load_safetensors(_present(pruned_file))
    plan = read_plan(read_text(_present(plan_file)), str(plan_file), row, baseline)
    _check_one_trial(store, row, plan, plan_file)
    named = {"model": plan.model.name, "dataset": plan.dataset.name, "score": plan.score.name}
    check_imports({kind: named[kind] for kind in imports}, str(plan_file), allow_import)
    with using(inputs) as inputs:
        inputs.import_for(named[kind] for kind in imports)
        traced = trace_plan(plan, inputs)
    check_fit(str(weights_file), weights, traced.network.state_dict(), plan.model.name)
    traced.network.load_state_dict(weights)
    smaller = rebuild(plan, traced, pruned, str(pruned_file))
    networks = {"baseline": standalone(traced.network), "pruned": standalone(smaller)}
    macs = {name: count_macs(network, plan.input_shape) for name, network in networks.items()}
    scoring = ScoringSpec(**json.loads(row["scoring_settings"]))
    return TrialNetworks(store, row, plan, traced, networks, plan.masks(), macs, scoring, baseline.data_fingerprint)


def _check_origin(store: TrialStore, baseline: Baseline, folder: Path) -> None:
    origin = origin_of(store)
    known = origin is not None and baseline.weights_fingerprint
    if known and origin is not None and origin["baseline"] != baseline.weights_fingerprint:
        raise InputError(f"trial {store.folder} was pruned from another baseline than the one in {folder}: restore it")


def _check_one_trial(store: TrialStore, row: Mapping[str, Any], plan: NetworkPlan, plan_file: Path) -> None:
    """Whether row, plan and folder are of one trial."""
    name = store.folder.name
    if row["trial_id"] != name:
        raise InputError(f"{store.folder / 'trial.parquet'} belongs to trial {row['trial_id']}: restore that of {name}")
    if plan.trial_id != name:
        raise InputError(f"{plan_file} belongs to trial {plan.trial_id}: restore that of {name}")
    if (plan.macs, plan.score.val_score) != (row["macs"], row["val_score"]):
        raise InputError(
            f"{plan_file} is of another run of trial {name} than its row: it has {plan.macs} multiply-adds and scores "
            f"{plan.score.val_score} on validation, the row {row['macs']} and {row['val_score']}"
        )


def label(study_dir: Path, trial_id: str) -> str:
    """A trial's place in the sweep: ``order low_to_high, drop_bound 4.0, method agent``."""
    axes = read_manifest(study_dir)["axes"]
    return ", ".join(f"{axis} {value}" for axis, value in axes.get(trial_id, {}).items())


def _ended(folder: Path, command: str, options: str) -> tuple[TrialStore, Mapping[str, Any]]:
    """The folder's trial and its row; raises :class:`InputError` saying which folder is needed."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; a trial's folder is results/<study>/trials/<trial_id>")
    folder = folder.resolve()
    study_dir = folder.parent if folder.name == "trials" else folder
    if (study_dir / "manifest.json").is_file():
        raise InputError(f"{study_dir} is a study; name one of its trials:\n{_trials_of(study_dir, command, options)}")
    study_dir = folder.parent.parent
    planned = study_dir / "manifest.json"
    if folder.parent.name != "trials" or not planned.is_file():
        raise InputError(f"{folder} is not a trial's folder, which is results/<study>/trials/<trial_id>")
    store = TrialStore(study_dir, read_manifest(study_dir)["study"], folder.name)
    row = store.trial_row()
    if row is None or row["macs"] is None:
        go_on = f"resume it with raprune study {study_dir / 'study.yaml'} --out {shown(study_dir)}"
        if row is None:
            raise InputError(f"trial {folder.name} has not ended yet, and has no network; {go_on}")
        if row["status"] == "stopped":
            raise InputError(
                f"trial {folder.name} had not begun when the study was stopped, and has no network; {go_on} (where its "
                "budget is spent, with a larger one: --set budget='{hours: 8}')"
            )
        why = f" (see {folder / 'error.txt'})" if (folder / "error.txt").is_file() else ""
        raise InputError(f"trial {folder.name} {row['status']}{why}, and has no network; {go_on}")
    return store, row


def _trials_of(study_dir: Path, command: str, options: str) -> str:
    """One line per trial: the command that takes it, and its place in the sweep."""
    manifest = read_manifest(study_dir)
    lines = []
    for trial_id in manifest["trial_ids"]:
        store = TrialStore(study_dir, manifest["study"], trial_id)
        status, setting = store.status() or "not ended yet", removed_by(store.folder)
        notes = [label(study_dir, trial_id), *([] if status == "completed" else [status])]
        notes += [] if setting is None else [f"its network was removed by keep_models: {setting}"]
        allowed = allow_options(store.trial_row() or {}, command)
        lines.append(f"  raprune {command} {shown(store.folder)}{options}{allowed}  # {', '.join(notes)}")
    return "\n".join(lines) or "  (it has none yet)"


def _present(file: Path) -> Path:
    if not file.is_file():
        raise InputError(f"{file} is missing: without it the trial's networks cannot be rebuilt")
    return file


def _how_to_get_back(folder: Path, setting: str) -> str:
    study_dir = folder.parent.parent
    return (
        f"trial {folder.name} no longer has a network: keep_models: {setting} removed it when the study ended. To get "
        f"it back, delete {folder / 'trial.parquet'} and run raprune study {study_dir / 'study.yaml'} "
        f"--out {shown(study_dir)} --set keep_models=all: it resumes from the trial's last committed layer"
    )
