"""What an evaluator loads once and keeps: network, data, score and how candidates are treated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from raprune.data import Splits, check_splits
from raprune.errors import InputError
from raprune.graph import Traced, trace
from raprune.graph.ambient import plain_torch
from raprune.graph.checks import bare, on_cpu
from raprune.registry import DATASETS, MODELS, SCORES, is_imported, source_of
from raprune.scoring import Score
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import FinetuneSpec, ScoringSpec
from raprune.study.schema import Choice, ModelChoice, TrialSpec
from raprune.train import Recipe
from raprune.weights import load_safetensors

BASELINE_FILE = "baseline.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Baseline:
    """The trained, untouched network as it lies on disk, and what was measured on it."""

    key: str
    folder: str
    val_score: float
    """Percent, on ``num_val_images``."""
    test_score: float | None
    """Percent; ``None`` where there is no test split."""
    num_val_images: int
    params: int
    macs: int
    model_bytes: int
    latency_s: float
    """Median seconds for a batch of one image, on the machine that prepared it."""
    standard_error: float | None
    """Of ``val_score``, points; ``None`` where the number of images does not tell."""
    quantum: float
    """The smallest step of the score on the validation images, points."""
    score_unit: str
    """``percent`` or ``dB``."""
    num_classes: int
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    own_code: str | None = None
    """Digest of the user's own plug-ins and of the images they gave; ``None`` where all are ours."""
    data_fingerprint: str = ""
    """Of the images and labels of train and val; empty only in a file of an earlier version."""
    weights_fingerprint: str = ""
    """Of the file of the network's weights; empty only in a file of an earlier version."""
    pixels: str = ""
    """What the data set's images are, ``uint8`` or ``float``; empty only in a file of an earlier version."""
    mean: tuple[float, ...] = ()
    """Of each channel of uint8 images, scaled to [0, 1]."""
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    """In the order of the network's outputs, where the data set has names."""

    @classmethod
    def read(cls, folder: Path) -> Baseline | None:
        """The baseline in ``folder``; ``None`` where it is not complete."""
        file = folder / BASELINE_FILE
        if not file.is_file():
            return None
        found = json.loads(file.read_text())
        tuples = {name: tuple(found[name]) for name in ("input_shape", "mean", "std", "class_names") if name in found}
        return cls(**{**found, **tuples, "folder": str(folder)})


class Given(Protocol):
    """A program's own network and data on their way to another process."""

    def use(self) -> None:
        """Let this process build the network and read the data."""


@dataclass(frozen=True)
class Workload:
    """Everything that scoring depends on; picklable, a few hundred bytes."""

    key: str
    """Evaluators keep one engine for each key."""
    model: ModelChoice
    dataset: Choice
    score: Choice
    scoring: ScoringSpec
    finetune: FinetuneSpec
    data_seed: int
    baseline_key: str
    folder: str
    """Where the baseline lies."""
    residual: str = "independent"
    fidelity: FidelitySpec = field(default=FidelitySpec(), kw_only=True)
    given: Given | None = field(default=None, kw_only=True)
    """Brings what a program gave into processes that are not its own."""

    @classmethod
    def of(cls, trial: TrialSpec, folder: Path) -> Workload:
        """The workload of a trial whose baseline lies in ``folder``."""
        from raprune.seeds import digest

        key = digest(
            trial.baseline_key, trial.finetune.model_dump(), trial.data_seed, trial.residual,
            trial.fidelity.model_dump(),
        )  # fmt: skip
        return cls(
            key, trial.model, trial.dataset, trial.score, trial.scoring, trial.finetune, trial.data_seed,
            trial.baseline_key, str(folder), trial.residual, fidelity=trial.fidelity,
        )  # fmt: skip

    @property
    def recipe(self) -> Recipe:
        """How fine-tunes train."""
        f = self.finetune
        return Recipe(f.learning_rate, f.momentum, f.weight_decay, f.batch_size, "linear")

    def load_data(self) -> Splits:
        return load_data(self.dataset)

    def load_score(self) -> Score:
        score: Score = SCORES.build(self.score.name, self.score.settings)
        return score

    def load_network(self, num_classes: int, input_shape: tuple[int, int, int]) -> Traced:
        """The baseline network with its groups, in eval mode, on the CPU."""
        network = build_network(self.model, num_classes, input_shape, fresh=True)
        traced = trace_model(network, self.model, input_shape, self.residual)
        traced.network.load_state_dict(self.load_weights())
        return traced

    def load_weights(self) -> dict[str, Tensor]:
        return load_safetensors(Path(self.folder) / WEIGHTS_FILE)


_LOADED: dict[str, Splits] = {}
"""Data sets of this process: trials and checks that follow one another share what is decoded."""
MAX_LOADED = 4


def load_data(dataset: Choice) -> Splits:
    """A data set, decoded once in this process; a ``train``, ``val`` or ``test`` split without images is refused."""
    key = dataset.model_dump_json()
    if key not in _LOADED:
        while len(_LOADED) >= MAX_LOADED:
            del _LOADED[next(iter(_LOADED))]
        _LOADED[key] = _open(dataset)
    return _LOADED[key]


def provide_data(key: str, splits: Splits) -> None:
    """Data that this process need not decode; ``key`` is the data set's choice as JSON."""
    _LOADED[key] = splits


def forget_data(holding: str = "") -> None:
    """Let go of all decoded data, or of those whose choice (as JSON) holds this text."""
    for key in list(_LOADED):
        if holding in key:
            del _LOADED[key]


def own_code(model: Choice, dataset: Choice, score: Choice, splits: Splits) -> str | None:
    """Digest of what a name does not tell: the source of imported plug-ins, the images and labels of imported data."""
    sources = [source_of(choice.name) for choice in (model, dataset, score)]
    if not any(is_imported(choice.name) for choice in (model, dataset, score)):
        return None
    sha = hashlib.sha256(json.dumps(sources).encode())
    if is_imported(dataset.name):
        for split in (splits.train, splits.val, splits.test):
            for tensor in () if split is None else (split.images_BCHW, split.labels_B):
                sha.update(np.ascontiguousarray(tensor.numpy()).data)
    return sha.hexdigest()[:16]


def _open(dataset: Choice) -> Splits:
    splits: Splits = DATASETS.build(dataset.name, dataset.settings)
    try:
        check_splits(splits)
    except InputError as error:
        raise InputError(f"dataset {dataset.name}: {error}") from error
    return splits


@plain_torch()
def build_network(model: Choice, num_classes: int, input_shape: tuple[int, int, int], fresh: bool = False) -> nn.Module:
    """A network with initial weights from torch's global generator, or pretrained where its settings say so.

    ``fresh`` leaves the pretrained ones out, for a network that gets others or that is only looked at.
    """
    settings = model.settings
    if fresh and "pretrained" in settings and ":" not in model.name:
        settings = {**settings, "pretrained": "none"}
    try:
        made = MODELS.build(model.name, settings, num_classes=num_classes, input_shape=input_shape)
        network: nn.Module = _bare(model, made)
    except ValueError as error:
        raise InputError(f"model {model.name}: {error}") from None
    return network


def _bare(model: Choice, made: Any) -> nn.Module:
    """What a model's function made, on the CPU and taken out of its wrappers."""
    try:
        return on_cpu(bare(made))
    except InputError as error:
        raise InputError(f"model {model.name}: {error}") from None


def trace_model(
    network: nn.Module, model: ModelChoice, input_shape: tuple[int, int, int], residual: str = "independent"
) -> Traced:
    """``network`` as raprune runs it, with what the study says of its tracing."""
    try:
        return trace(network, input_shape, residual=residual, whole=model.whole, output=model.output)
    except InputError as error:
        raise InputError(f"model {model.name}: {error}") from error
