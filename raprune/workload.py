"""What an evaluator loads once and keeps: network, data, score and how candidates are treated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from raprune.data import Splits
from raprune.errors import InputError
from raprune.registry import DATASETS, MODELS, SCORES
from raprune.scoring import Score
from raprune.study.schema import Choice, FinetuneSpec, ScoringSpec, TrialSpec
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

    @classmethod
    def read(cls, folder: Path) -> Baseline | None:
        """The baseline in ``folder``; ``None`` where it is not complete."""
        file = folder / BASELINE_FILE
        if not file.is_file():
            return None
        found = json.loads(file.read_text())
        return cls(**{**found, "folder": str(folder), "input_shape": tuple(found["input_shape"])})


@dataclass(frozen=True)
class Workload:
    """Everything that scoring depends on; picklable, a few hundred bytes."""

    key: str
    """Evaluators keep one engine for each key."""
    model: Choice
    dataset: Choice
    score: Choice
    scoring: ScoringSpec
    finetune: FinetuneSpec
    data_seed: int
    baseline_key: str
    folder: str
    """Where the baseline lies."""

    @classmethod
    def of(cls, trial: TrialSpec, folder: Path) -> Workload:
        """The workload of a trial whose baseline lies in ``folder``."""
        from raprune.seeds import digest

        key = digest(trial.baseline_key, trial.finetune.model_dump(), trial.data_seed)
        return cls(
            key, trial.model, trial.dataset, trial.score, trial.scoring, trial.finetune, trial.data_seed,
            trial.baseline_key, str(folder),
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

    def load_network(self, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
        """The baseline network, in eval mode, on the CPU."""
        network = build_network(self.model, num_classes, input_shape)
        network.load_state_dict(self.load_weights())
        return network.eval()

    def load_weights(self) -> dict[str, Tensor]:
        return load_safetensors(Path(self.folder) / WEIGHTS_FILE)


def load_data(dataset: Choice) -> Splits:
    """Open a data set; a ``train``, ``val`` or ``test`` split without images is refused."""
    splits: Splits = DATASETS.build(dataset.name, dataset.settings)
    for name in ("train", "val", "test"):
        split = getattr(splits, name)
        if split is not None and len(split) == 0:
            raise InputError(f"dataset {dataset.name}: its {name} split has no images")
    return splits


def build_network(model: Choice, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A network with fresh weights from torch's global generator."""
    try:
        network: nn.Module = MODELS.build(model.name, model.settings, num_classes=num_classes, input_shape=input_shape)
    except ValueError as error:
        raise InputError(f"model {model.name}: {error}") from None
    return network
