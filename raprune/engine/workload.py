"""What an evaluator loads once and keeps: network, data, score, and how candidates are trained and scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from raprune.engine.inputs import Inputs
from raprune.engine.train import Recipe
from raprune.engine.val_order import ORDER_FILE, load_order
from raprune.errors import DamagedError, InputError
from raprune.identity import Sources, of_value
from raprune.network.graph import Traced, trace
from raprune.network.weights import check_file, load_safetensors
from raprune.plugins.datasets.base import Splits
from raprune.plugins.scores.base import Score
from raprune.registry import SCORES
from raprune.results import read_json
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import FinetuneSpec, ScoringSpec
from raprune.study.schema import Choice, ModelChoice, TrialSpec
from raprune.system.store import bring_complete

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
    """The trained, unpruned network on disk, and its measurements."""

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
    """Standard error of ``val_score``, points; ``None`` where it does not follow from the number of images."""
    quantum: float
    """The smallest step of the score on the validation images, points."""
    score_unit: str
    """``percent`` or ``dB``."""
    num_classes: int
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    sources: Sources | None = None
    """What it was built from; ``None`` only in a file of an earlier version."""
    data_fingerprint: str = ""
    """Fingerprint of the images and labels of train and val; empty only in a file of an earlier version."""
    val_order_fingerprint: str = ""
    """Fingerprint of the file with the order in which candidates see val's images; empty only in earlier versions."""
    weights_fingerprint: str = ""
    """Fingerprint of the weights file; empty only in a file of an earlier version."""
    pixels: str = ""
    """Type of the data set's images, ``uint8`` or ``float``; empty only in a file of an earlier version."""
    mean: tuple[float, ...] = ()
    """Mean of each channel of uint8 images, scaled to [0, 1]."""
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    """Class names in the order of the network's outputs, where the data set has them."""

    @property
    def own_code(self) -> str | None:
        """Digest of the user's own network and code; ``None`` where all are raprune's."""
        if self.sources is None or not (self.sources.network or self.sources.code):
            return None
        return of_value(self.sources.network, self.sources.code)

    @classmethod
    def read(cls, folder: Path) -> Baseline | None:
        """Read the baseline in ``folder``; ``None`` if it is not complete. Raises :class:`InputError` for damage."""
        file = folder / BASELINE_FILE
        bring_complete(folder, BASELINE_FILE)
        if not file.exists():
            return None
        entries = read_json(file, BASELINE_KEYS, made_anew(folder))
        try:
            tuples = {name: tuple(entries[name]) for name in TUPLES if name in entries}
            sources = {"sources": Sources(**entries["sources"])} if entries.get("sources") else {}
            entries.pop("own_code", None)  # written by earlier versions
            return cls(**{**entries, **tuples, **sources, "folder": str(folder)})
        except TypeError as error:
            raise DamagedError(f"{file} is damaged: {error}; {made_anew(folder)}") from None


@dataclass(frozen=True)
class Workload:
    """Everything that scoring depends on; picklable, a few hundred bytes in size."""

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
    """The folder of the baseline."""
    residual: str = "independent"
    fidelity: FidelitySpec = field(default=FidelitySpec(), kw_only=True)

    @classmethod
    def of(cls, trial: TrialSpec, folder: Path) -> Workload:
        """The workload of a trial whose baseline is in ``folder``."""
        from raprune.study.seeds import digest

        key = digest(
            trial.baseline_key, trial.finetune.model_dump(), trial.data_seed, trial.residual,
            trial.fidelity.model_dump(),
        )  # fmt: skip
        return cls(
            key, trial.model, trial.data, trial.score, trial.scoring, trial.finetune, trial.data_seed,
            trial.baseline_key, str(folder), trial.residual, fidelity=trial.fidelity,
        )  # fmt: skip

    @property
    def recipe(self) -> Recipe:
        """The recipe of all fine-tunes."""
        f = self.finetune
        return Recipe(f.learning_rate, f.momentum, f.weight_decay, f.batch_size, "linear")

    def load_data(self, inputs: Inputs) -> Splits:
        return inputs.data(self.dataset)

    def load_score(self) -> Score:
        score: Score = SCORES.build(self.score.name, self.score.settings)
        return score

    def load_network(self, inputs: Inputs, num_classes: int, input_shape: tuple[int, int, int]) -> Traced:
        """The baseline network with its groups, in eval mode, on the CPU."""
        network = inputs.network(self.model, num_classes, input_shape, fresh=True)
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
    """Read the weights of the baseline in ``folder``; raises :class:`InputError` if they have changed since."""
    file = folder / WEIGHTS_FILE
    if baseline is not None and baseline.weights_fingerprint:
        check_file(file, baseline.weights_fingerprint, made_anew(folder))
    return load_safetensors(file)


def made_anew(folder: Path) -> str:
    """The end of a message about a damaged baseline: how to repair it."""
    return f"restore a copy of it, or delete {folder}: the same command then rebuilds the baseline"


def trace_model(
    network: nn.Module, model: ModelChoice, input_shape: tuple[int, int, int], residual: str = "independent"
) -> Traced:
    """Trace ``network`` with the study's settings. Raises :class:`InputError` where it cannot be traced."""
    try:
        return trace(network, input_shape, residual=residual, whole=model.whole, output=model.output)
    except InputError as error:
        raise InputError(f"model {model.name}: {error}") from error
