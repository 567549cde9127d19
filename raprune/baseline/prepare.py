"""The baseline: trained here or loaded from a checkpoint, checked, measured once, and kept on disk for every trial."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from raprune.baseline.origins import before_sources, other_content, sources_of
from raprune.baseline.sane import check_sane, forward, outputs
from raprune.engine.arithmetic import exact_arithmetic
from raprune.engine.batches import steps_per_epoch
from raprune.engine.inputs import Inputs
from raprune.engine.moving import on_device
from raprune.engine.split import channels_last
from raprune.engine.train import Recipe, train
from raprune.engine.training_file import TrainingFile
from raprune.engine.val_order import ORDER_FILE, fragile_first, save_order
from raprune.engine.workload import (
    BASELINE_FILE,
    WEIGHTS_FILE,
    Baseline,
    baseline_weights,
    trace_model,
)
from raprune.errors import InputError
from raprune.identity import Sources, differing, extra_state_of, of_file, of_tensors
from raprune.network.draws import drawn
from raprune.network.measure import latency_s, size_of
from raprune.network.weights import load_checkpoint, save_safetensors, shapes_of
from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.scores.base import Score, score_whole
from raprune.registry import SCORES, is_given
from raprune.results import write_json
from raprune.study.parts import BaselineSpec
from raprune.study.schema import TrialSpec
from raprune.study.seeds import seed_for
from raprune.system.store import deliver, publish


def prepare_baseline(trial: TrialSpec, folder: Path, device: str = "cpu", inputs: Inputs | None = None) -> Baseline:
    """The baseline of ``trial`` in ``folder``: read if it exists, else trained or loaded, measured and written.

    Raises :class:`InputError` for a checkpoint that does not fit, for a baseline that is at chance level or whose
    classes look permuted (pruning it would be meaningless), and for an existing one that was built from content other
    than the current one of ``trial``.
    """
    exact_arithmetic(torch.device(device))
    inputs = inputs or Inputs()
    splits = inputs.data(trial.data)
    score: Score = SCORES.build(trial.score.name, trial.score.settings)
    network = initial_network(trial, splits, inputs)
    sources = sources_of(trial, splits, score, network)
    existing = Baseline.read(folder)
    if existing is not None:
        return _checked(existing, folder, trial, splits, score, network, sources)
    channels_last(network.to(device))
    file = _file(trial, folder, network, sources)
    network = _finished(network, trial, splits, score, file)
    size, threads = trial.scoring.batch_size, trial.scoring.threads
    check_sane(network, splits, splits.val, score, size)
    torch.set_num_threads(threads)
    val_score = score_split(network, splits, splits.val, score, size)
    test_score = score_split(network, splits, splits.test, score, size) if splits.test is not None else None
    baseline = Baseline(
        key=trial.baseline_key,
        folder=str(folder),
        val_score=val_score,
        test_score=test_score,
        num_val_images=len(splits.val),
        **asdict(size_of(network, splits.input_shape)),
        latency_s=latency_s(network, splits.input_shape),
        standard_error=score.standard_error(val_score, len(splits.val)),
        quantum=score.quantum(score.whole(splits.val.labels_B)),
        score_unit=score.unit,
        num_classes=splits.num_classes,
        input_shape=splits.input_shape,
        sources=sources,
        data_fingerprint=sources.data,
        **_input_of(splits),
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(network.state_dict(), folder / WEIGHTS_FILE)
    _save_order(network, splits, score, size, folder)
    complete = _written(baseline, folder)
    file.forget()
    return complete


def _save_order(network: nn.Module, splits: Splits, score: Score, batch_size: int, folder: Path) -> None:
    save_order(fragile_first(score, outputs(network, splits, splits.val, batch_size)), folder)


def _checked(
    existing: Baseline,
    folder: Path,
    trial: TrialSpec,
    splits: Splits,
    score: Score,
    network: fx.GraphModule,
    sources: Sources,
) -> Baseline:
    """The ``existing`` baseline, if its content has not changed; raises :class:`InputError` if it has."""
    weights = baseline_weights(folder, existing)
    certain, perhaps = differing(existing.sources or before_sources(existing.data_fingerprint, sources), sources)
    if perhaps and not certain and not _scores_alike(existing, weights, trial, splits, score, network, sources):
        certain = perhaps
    if certain:
        raise InputError(other_content(f"the baseline in {folder}", trial, certain))
    if "data" in perhaps:  # by pixels and by files: scores of candidates are known by the one they were stored with
        sources = replace(sources, data=existing.data_fingerprint)
    if not (folder / ORDER_FILE).is_file():
        network.load_state_dict(weights)
        _save_order(network.eval(), splits, score, trial.scoring.batch_size, folder)
    known = replace(existing, data_fingerprint=sources.data, **_input_of(splits))
    if existing.sources is None or perhaps:
        known = replace(known, sources=sources)
    complete = existing.weights_fingerprint and existing.val_order_fingerprint
    return existing if known == existing and complete else _written(known, folder)


def _scores_alike(
    existing: Baseline,
    weights: Mapping[str, Tensor],
    trial: TrialSpec,
    splits: Splits,
    score: Score,
    network: fx.GraphModule,
    sources: Sources,
) -> bool:
    """Whether a baseline whose fingerprints cannot be compared is the current network, judged by its score."""
    if trial.baseline.checkpoint is not None and of_tensors(weights) != sources.weights:
        return False
    if shapes_of(weights) != shapes_of(network.state_dict()):
        return False
    network.load_state_dict(weights)
    score_now = score_split(network.eval(), splits, splits.val, score, trial.scoring.batch_size)
    return abs(score_now - existing.val_score) <= existing.quantum + 1e-9


def _input_of(splits: Splits) -> dict[str, Any]:
    """What a user of the network must know about its input and outputs."""
    return {
        "pixels": "float" if splits.normalised else "uint8",
        "mean": tuple(map(float, splits.mean)),
        "std": tuple(map(float, splits.std)),
        "class_names": tuple(map(str, splits.class_names)),
    }


def _written(baseline: Baseline, folder: Path) -> Baseline:
    """Add the fingerprints of the files in ``folder`` to ``baseline``, write it there and return it."""
    complete = replace(
        baseline,
        weights_fingerprint=of_file(folder / WEIGHTS_FILE),
        val_order_fingerprint=of_file(folder / ORDER_FILE),
    )
    write_json(folder / BASELINE_FILE, asdict(complete))
    publish(folder)
    deliver(folder)
    return complete


def initial_network(trial: TrialSpec, splits: Splits, inputs: Inputs) -> fx.GraphModule:
    """The network that a baseline begins with, on the CPU: from its checkpoint, or with seeded initial weights."""
    spec = trial.baseline
    with drawn_from(seed_for(spec.seed, "initial weights")):
        network = inputs.network(trial.model, splits.num_classes, splits.input_shape, spec.checkpoint is not None)
    if spec.checkpoint is not None:
        with inputs.file(spec.checkpoint) as file:
            load_checkpoint(network, file)
    return trace_model(network, trial.model, splits.input_shape).network


def _file(trial: TrialSpec, folder: Path, network: nn.Module, sources: Sources) -> TrainingFile:
    """Where the baseline's training is kept while it lasts."""
    parts = (trial.model, trial.data, trial.score, trial.baseline)
    settings = [part.model_dump(mode="json") for part in parts]
    device = next(network.parameters()).device.type
    return TrainingFile(folder.parent.parent, *settings, asdict(sources), of_tensors(network.state_dict()), device)


def _finished(
    network: fx.GraphModule, trial: TrialSpec, splits: Splits, score: Score, file: TrainingFile
) -> fx.GraphModule:
    """The baseline network; trained, unless a checkpoint or a program provided its weights."""
    if trial.baseline.checkpoint is None and not is_given(trial.model.name):
        before = extra_state_of(network)
        _train(network, on_device(splits, next(network.parameters()).device), score, trial.baseline, file)
        if changed := [name for name, state in extra_state_of(network).items() if state != before[name]]:
            raise InputError(
                f"model {trial.model.name}: training changes the extra state of {changed[0]!r} (its get_extra_state), "
                "and raprune keeps only parameters and buffers: make it a buffer"
            )
    return network.eval()


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Seed all random generators inside the block; restore their states after it."""
    python, numpy = random.getstate(), np.random.get_state()
    with drawn(seed):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _train(network: nn.Module, splits: Splits, score: Score, spec: BaselineSpec, file: TrainingFile) -> None:
    torch.set_num_threads(spec.threads)
    recipe = Recipe(spec.learning_rate, spec.momentum, spec.weight_decay, spec.batch_size, "one_cycle")
    num_steps = spec.epochs * steps_per_epoch(len(splits.train), spec.batch_size)
    if not train(network, splits, score, recipe, num_steps, seed_for(spec.seed, "baseline"), file):
        raise InputError(
            "the baseline's training diverged: its loss or weights became NaN or infinite; give it a lower "
            f"baseline.learning_rate (it is {spec.learning_rate:g}), and check the images' normalisation"
        )


@torch.inference_mode()
def score_split(network: nn.Module, splits: Splits, split: Split, score: Score, batch_size: int) -> float:
    """The score of ``network`` on all of ``split``, in the score's unit."""
    return score_whole(score, partial(forward, network, splits), split, batch_size).highest
