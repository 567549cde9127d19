"""The baseline: trained here or loaded from a checkpoint, checked, measured once, and kept on disk for every trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from raprune.data import Split, Splits, normalise
from raprune.engine.split import channels_last
from raprune.errors import InputError
from raprune.measure import count_bytes, count_macs, count_params, latency_s
from raprune.memo import fingerprints
from raprune.paths import expanded
from raprune.registry import SCORES, is_given
from raprune.results import write_json
from raprune.scoring import Score, score_batches
from raprune.seeds import seed_for
from raprune.study.parts import BaselineSpec
from raprune.study.schema import TrialSpec
from raprune.train import Recipe, steps_per_epoch, train
from raprune.weights import load_checkpoint, save_safetensors
from raprune.workload import BASELINE_FILE, WEIGHTS_FILE, Baseline, build_network, load_data, own_code, trace_model

CHANCE_ERRORS = 4
"""A baseline must be above chance by this many standard errors."""


def prepare_baseline(trial: TrialSpec, folder: Path, device: str = "cpu") -> Baseline:
    """The baseline of ``trial`` in ``folder``: read if it is there, else trained or loaded, measured and written.

    Raises :class:`InputError` for a checkpoint that does not fit and for a baseline that is at chance level or whose
    classes look permuted: nothing that is pruned from it would mean anything.
    """
    splits = load_data(trial.dataset)
    own = own_code(trial.model, trial.dataset, trial.score, splits)
    data = fingerprints.of_data(splits)
    found = Baseline.read(folder)
    if found is not None:
        return _checked(found, folder, own, data, splits)
    score: Score = SCORES.build(trial.score.name, trial.score.settings)
    network = make_network(trial, splits, score, device)
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
        params=count_params(network),
        macs=count_macs(network, splits.input_shape),
        model_bytes=count_bytes(network),
        latency_s=latency_s(network, splits.input_shape),
        standard_error=score.standard_error(val_score, len(splits.val)),
        quantum=score.quantum(score.whole(splits.val.labels_B)),
        score_unit=score.unit,
        num_classes=splits.num_classes,
        input_shape=splits.input_shape,
        own_code=own,
        data_fingerprint=data,
        **_input_of(splits),
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(network.state_dict(), folder / WEIGHTS_FILE)
    return _written(baseline, folder)


def _checked(found: Baseline, folder: Path, own: str | None, data: str, splits: Splits) -> Baseline:
    """A baseline that lies there, if code and images are still those it was made of."""
    if found.own_code != own or found.data_fingerprint not in ("", data):
        raise InputError(
            f"the baseline in {folder} was made by other code, or on other images, than yours gives now: go on in "
            "another folder (--out), and seed the splits of a data set of your own"
        )
    known = replace(found, data_fingerprint=data, **_input_of(splits))
    return found if known == found and found.weights_fingerprint else _written(known, folder)


def _input_of(splits: Splits) -> dict[str, Any]:
    """What the network's user has to know of its input and its outputs."""
    return {
        "pixels": "float" if splits.normalised else "uint8",
        "mean": tuple(map(float, splits.mean)),
        "std": tuple(map(float, splits.std)),
        "class_names": tuple(map(str, splits.class_names)),
    }


def _written(baseline: Baseline, folder: Path) -> Baseline:
    """``baseline`` with the fingerprint of its weights, which lie in ``folder``, as it then lies there too."""
    complete = replace(baseline, weights_fingerprint=fingerprints.of_file(folder / WEIGHTS_FILE))
    write_json(folder / BASELINE_FILE, asdict(complete))
    return complete


def make_network(trial: TrialSpec, splits: Splits, score: Score, device: str) -> nn.Module:
    """The baseline network on ``device``: from its checkpoint, trained, or with the weights that a program gave it."""
    spec, given = trial.baseline, is_given(trial.model.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(spec.seed, "initial weights"))
        fresh = spec.checkpoint is not None
        network = build_network(trial.model, splits.num_classes, splits.input_shape, fresh)
    if spec.checkpoint is not None:
        load_checkpoint(network, expanded(spec.checkpoint))
    network = trace_model(network, trial.model, splits.input_shape).network
    network = channels_last(network.to(device))
    if spec.checkpoint is None and not given:
        _train(network, splits, score, spec)
    return network.eval()


def _train(network: nn.Module, splits: Splits, score: Score, spec: BaselineSpec) -> None:
    torch.set_num_threads(spec.threads)
    recipe = Recipe(spec.learning_rate, spec.momentum, spec.weight_decay, spec.batch_size, "one_cycle")
    num_steps = spec.epochs * steps_per_epoch(len(splits.train), spec.batch_size)
    train(network, splits, score, recipe, num_steps, seed_for(spec.seed, "baseline"))


@torch.inference_mode()
def _logits(network: nn.Module, splits: Splits, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and labels on the CPU, batch by batch."""
    parameter = next(network.parameters())
    for start in range(0, len(split), batch_size):
        images = normalise(split.images_BCHW[start : start + batch_size].to(parameter.device), splits, parameter.dtype)
        logits = network(images.contiguous(memory_format=torch.channels_last))
        yield logits.cpu(), split.labels_B[start : start + batch_size]


def score_split(network: nn.Module, splits: Splits, split: Split, score: Score, batch_size: int) -> float:
    """The score of ``network`` on all of ``split``, in the score's unit."""
    return _value(_logits(network, splits, split, batch_size), score, split)


def _value(batches: Iterable[tuple[Tensor, Tensor]], score: Score, split: Split) -> float:
    on_demand = ((partial(_same, logits), labels) for logits, labels in batches)
    return score_batches(score, on_demand, score.whole(split.labels_B)).highest


def _same(logits: Tensor) -> Tensor:
    return logits


def check_sane(network: nn.Module, splits: Splits, split: Split, score: Score, batch_size: int) -> float:
    """The score on ``split``; raises :class:`InputError` at chance level or where the classes look permuted."""
    confusion_KK = torch.zeros(splits.num_classes, splits.num_classes, dtype=torch.int64)
    is_classifier = split.labels_B.dim() == 1

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for logits, labels in _logits(network, splits, split, batch_size):
            if is_classifier:
                pairs = labels * splits.num_classes + logits.argmax(1)
                confusion_KK.add_(pairs.bincount(minlength=splits.num_classes**2).view_as(confusion_KK))
            yield logits, labels

    value = _value(batches(), score, split)
    if is_classifier:
        _check_permutation(confusion_KK.numpy(), value)
    chance = score.chance(split.labels_B, splits.num_classes)
    if value <= chance + CHANCE_ERRORS * (score.standard_error(chance, len(split)) or 0.0):
        sign = "%" if score.unit == "percent" else f" {score.unit}"
        raise InputError(
            f"the baseline scores {value:.1f}{sign} on {len(split)} validation images, no better than chance "
            f"({chance:.1f}{sign}): train it longer, or check its checkpoint, normalisation and labels"
        )
    return value


def _check_permutation(confusion: np.ndarray, value: float) -> None:
    rows, columns = linear_sum_assignment(-confusion)
    best = 100.0 * confusion[rows, columns].sum() / confusion.sum()
    if best > 60.0 and best > 2 * value:
        swapped = ", ".join(f"{r}->{c}" for r, c in zip(rows, columns, strict=True) if r != c)
        raise InputError(
            f"the baseline's classes look permuted: {value:.1f}% as they are, {best:.1f}% with labels {swapped}"
        )
