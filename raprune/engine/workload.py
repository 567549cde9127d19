"""What an evaluator loads once and keeps: network, data, score and how candidates are treated."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from raprune.engine.train import Recipe
from raprune.engine.val_order import ORDER_FILE, load_order
from raprune.errors import DamagedError, InputError, first_line
from raprune.identity import Signature, Sources, of_value, signature_of
from raprune.network.graph import Traced, trace
from raprune.network.graph.ambient import plain_torch
from raprune.network.graph.checks import bare, on_cpu
from raprune.network.weights import check_file, load_safetensors
from raprune.plugins.datasets.base import Splits, check_splits
from raprune.plugins.scores.base import Score
from raprune.registry import DATASETS, MODELS, SCORES, is_imported
from raprune.results import read_json
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import FinetuneSpec, ScoringSpec
from raprune.study.schema import Choice, ModelChoice, TrialSpec

BASELINE_FILE = "baseline.json"
WEIGHTS_FILE = "model.safetensors"
TUPLES = ("input_shape", "mean", "std", "class_names")
"""Fields of a baseline that JSON keeps as lists."""
BASELINE_KEYS: dict[str, type | tuple[type, ...]] = {
    "key": str, "val_score": (int, float), "test_score": (int, float, type(None)), "num_val_images": int,
    "params": int, "macs": int, "model_bytes": int, "latency_s": (int, float), "quantum": (int, float),
    "score_unit": str, "num_classes": int, "input_shape": list,
}  # fmt: skip
"""What every version of the file holds."""


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
    sources: Sources | None = None
    """What it was made of; ``None`` only in a file of an earlier version."""
    data_fingerprint: str = ""
    """Of the images and labels of train and val; empty only in a file of an earlier version."""
    val_order_fingerprint: str = ""
    """Of the file of the order in which candidates see val's images; empty only in a file of an earlier version."""
    weights_fingerprint: str = ""
    """Of the file of the network's weights; empty only in a file of an earlier version."""
    pixels: str = ""
    """What the data set's images are, ``uint8`` or ``float``; empty only in a file of an earlier version."""
    mean: tuple[float, ...] = ()
    """Of each channel of uint8 images, scaled to [0, 1]."""
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    """In the order of the network's outputs, where the data set has names."""

    @property
    def own_code(self) -> str | None:
        """Of the user's own network and code; ``None`` where all are ours."""
        if self.sources is None or not (self.sources.network or self.sources.code):
            return None
        return of_value(self.sources.network, self.sources.code)

    @classmethod
    def read(cls, folder: Path) -> Baseline | None:
        """The baseline in ``folder``; ``None`` where it is not complete. Raises :class:`InputError` for damage."""
        file = folder / BASELINE_FILE
        if not file.exists():
            return None
        found = read_json(file, BASELINE_KEYS, made_anew(folder))
        try:
            tuples = {name: tuple(found[name]) for name in TUPLES if name in found}
            sources = {"sources": Sources(**found["sources"])} if found.get("sources") else {}
            found.pop("own_code", None)  # as earlier versions wrote it
            return cls(**{**found, **tuples, **sources, "folder": str(folder)})
        except TypeError as error:
            raise DamagedError(f"{file} is damaged: {error}; {made_anew(folder)}") from None


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
        from raprune.study.seeds import digest

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
        return baseline_weights(Path(self.folder), Baseline.read(Path(self.folder)))

    def load_val_order(self, num_images: int) -> Tensor:
        """(num_images,): the order in which candidates see val's images."""
        folder = Path(self.folder)
        baseline = Baseline.read(folder)
        if baseline is not None and baseline.val_order_fingerprint:
            check_file(folder / ORDER_FILE, baseline.val_order_fingerprint, made_anew(folder))
        return load_order(folder, num_images)


def baseline_weights(folder: Path, baseline: Baseline | None) -> dict[str, Tensor]:
    """The weights of the baseline in ``folder``; raises :class:`InputError` where they are not those that it wrote."""
    file = folder / WEIGHTS_FILE
    if baseline is not None and baseline.weights_fingerprint:
        check_file(file, baseline.weights_fingerprint, made_anew(folder))
    return load_safetensors(file)


def made_anew(folder: Path) -> str:
    """The way on from a baseline that is damaged."""
    return f"put back a copy of it, or delete {folder}: the same command then makes the baseline anew"


@dataclass(frozen=True)
class _Loaded:
    splits: Splits
    files: Signature
    """Of the files that the data set's settings name, before they were read."""
    time: int = field(default_factory=itertools.count().__next__)
    """Counts what this process has read."""


_LOADED: dict[str, _Loaded] = {}
"""Data sets of this process: trials and checks of one run share what is decoded."""
MAX_LOADED = 4


def load_data(dataset: Choice) -> Splits:
    """A data set, decoded once in a run; a ``train``, ``val`` or ``test`` split without images is refused."""
    key = dataset.model_dump_json()
    if key not in _LOADED:
        while len(_LOADED) >= MAX_LOADED:
            del _LOADED[next(iter(_LOADED))]
        files = signature_of(dataset.settings)
        _LOADED[key] = _Loaded(_open(dataset), files)
    return _LOADED[key].splits


def time_of_reading(dataset: Choice) -> int:
    """A number that changes when a data set is read again."""
    load_data(dataset)
    return _LOADED[dataset.model_dump_json()].time


def provide_data(key: str, splits: Splits) -> None:
    """Data that this process need not decode; ``key`` is the data set's choice as JSON."""
    _LOADED[key] = _Loaded(splits, ())


def forget_data(holding: str = "") -> None:
    """Let go of all decoded data, or of those whose choice (as JSON) holds this text."""
    for key in list(_LOADED):
        if holding in key:
            del _LOADED[key]


def forget_changed_data(own: bool = False) -> None:
    """Let go of decoded data whose files on disk are others by now; with ``own`` of all that the user's code gave."""
    for key, loaded in list(_LOADED.items()):
        dataset = Choice.model_validate_json(key)
        if (own and is_imported(dataset.name)) or loaded.files != signature_of(dataset.settings):
            del _LOADED[key]


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
    return fill_lazy(network, input_shape)


def fill_lazy(network: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """``network``, whose lazy layers get their sizes and weights, drawn from torch's global generator as others are."""
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        was_training = network.training
        dtype = next(network.parameters()).dtype
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(2, *input_shape, dtype=dtype))
        except Exception as error:  # whatever a user's forward raises for images that it cannot take
            first = first_line(error)
            raise InputError(f"the network cannot take images of {tuple(input_shape)}: {first}") from error
        network.train(was_training)
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
