"""Compares an exported network with the trial's: logits on a few images, scores on whole splits.

A network that un-pools puts each value where its pool found it. If two values of a window are within rounding of each
other, two correct programs may choose differently, and everything that reads the value changes: even raprune's own
network in float64 differs from itself in this way. The largest difference on a few images then means nothing; instead,
half of the logits must be within the tolerance. A wrong program would fail that, since every logit depends on
un-pooled values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from raprune.artefact.trials import TrialNetworks
from raprune.engine.inputs import Inputs
from raprune.errors import InputError, RapruneError
from raprune.export.running import Run
from raprune.export.unpooling import unpools
from raprune.plugins.datasets import contents
from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.scores.base import CLASS_LABELS, Score, score_whole
from raprune.registry import SCORES
from raprune.study.wording import counted

TOLERANCE = 1e-4
"""Allowed difference of an exported network's logits, as a share of the largest logit."""
ALLOWED_SHARE = 0.01
"""Share of decisions that ties in the pools may change, for a network that un-pools."""
BATCH_SIZES = (1, 5)
SPLITS = ("val", "test")


class ExportError(RapruneError):
    """The exported network differs from the trial's; no file is left behind."""


class Images:
    """The study's images; if they are not available, random images and the reason."""

    def __init__(self, trial: TrialNetworks, inputs: Inputs) -> None:
        self.inputs = inputs
        self.shape = trial.input_shape
        self.dtype = next(trial.networks["pruned"].parameters()).dtype
        self.splits: Splits | None = None
        self.missing: str | None = None
        try:
            self.splits = inputs.data(trial.plan.dataset)
        except InputError as error:
            self.missing = str(error).splitlines()[0]
        if self.splits is not None and (other := _other_images(self.splits, trial)):
            self.missing = f"data set {trial.plan.dataset.name} has {other} now"
            self.splits = None

    def few(self, number: int) -> Tensor:
        """Network input: the first validation images, repeated if there are fewer."""
        if self.splits is None:
            return torch.randn(number, *self.shape, generator=torch.Generator().manual_seed(number)).to(self.dtype)
        images = self.splits.val.images_BCHW
        return self.input(images[torch.arange(number) % len(images)])

    def input(self, images_BCHW: Tensor) -> Tensor:
        """Images of the data set as the network takes them."""
        assert self.splits is not None
        return normalise(images_BCHW, self.splits, self.dtype)


def _other_images(splits: Splits, trial: TrialNetworks) -> str | None:
    """What has changed in a data set since the trial was scored on it."""
    if splits.input_shape != trial.input_shape:
        return f"images of {splits.input_shape}"
    if trial.data_fingerprint and contents.changed(trial.data_fingerprint, splits):
        return "other images or labels"
    return None


@dataclass(frozen=True)
class Difference:
    """Difference of one batch's logits from those of the network in raprune, relative to the largest logit."""

    largest: float
    half: float
    """The median difference."""
    ties: bool
    """Whether the network un-pools: see the top of this file."""

    @property
    def judged(self) -> float:
        """The difference that must be within the tolerance."""
        return self.half if self.ties else self.largest


@torch.inference_mode()
def parity(trial: TrialNetworks, run: Run, images: Images) -> dict[int, Difference]:
    """Batch size -> how the logits differ."""
    network = trial.networks["pruned"]
    ties, differences = unpools(network), {}
    for size in BATCH_SIZES:
        batch_BCHW = images.few(size)
        expected, found = network(batch_BCHW), run(batch_BCHW)
        if found.shape != expected.shape:
            raise ExportError(
                f"it returns {tuple(found.shape)} for {counted(size, 'image')}, the network {tuple(expected.shape)}"
            )
        differs = (found - expected).abs() / expected.abs().max()
        differs = torch.nan_to_num(differs, torch.inf)  # NaN must fail
        differences[size] = Difference(float(differs.max()), float(differs.median()), ties)
    return differences


@dataclass(frozen=True)
class Measured:
    """A split's score: in the trial's row, and of the exported network now."""

    split: str
    row: float
    score: float
    others: str = ""
    """If the two differ: the explanation."""
    wrong: int = 0
    """Decisions that differ from those of the network in raprune and are not ties."""
    allowed: int = 0
    """How many of them ties in the pools may account for."""


def scores_of(trial: TrialNetworks, run: Run, images: Images) -> dict[str, float]:
    """The scores of an exported network on the splits scored in the trial's row; empty without images."""
    score = _score(trial)
    return {
        name: score_of(run, images, split, score, trial.scoring.batch_size) for name, split in _splits(trial, images)
    }


def compare(trial: TrialNetworks, run: Run, images: Images) -> Iterator[Measured]:
    """The scores of an exported network beside those of the trial's row, with the reason if they differ."""
    found = scores_of(trial, run, images)
    for name, split in _splits(trial, images):
        measured = Measured(name, trial.row[f"{name}_score"], found[name])
        yield measured if measured.score == measured.row else _explained(measured, trial, run, images, split)


def _splits(trial: TrialNetworks, images: Images) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        split: Split | None = None if images.splits is None else getattr(images.splits, name)
        if split is not None and trial.row[f"{name}_score"] is not None:
            yield name, split


def _score(trial: TrialNetworks) -> Score:
    score: Score = SCORES.build(trial.plan.score.name, json.loads(trial.row["score_settings"] or "{}"))
    return score


def score_of(run: Run, images: Images, split: Split, score: Score, batch_size: int) -> float:
    """The score of ``run`` on a whole split."""
    return score_whole(score, lambda raw: run(images.input(raw)), split, batch_size).highest


@torch.inference_mode()
def _explained(measured: Measured, trial: TrialNetworks, run: Run, images: Images, split: Split) -> Measured:
    """Explain a score that differs from the row's by comparing decisions with the network in raprune."""
    network, score, size = trial.networks["pruned"], _score(trial), trial.scoring.batch_size
    own = score_of(network, images, split, score, size)
    why = f"the network in raprune scores {own:.6g} here"
    if score.labels not in CLASS_LABELS or trial.plan.num_classes < 2:
        return Measured(measured.split, measured.row, measured.score, why)
    ties = differ = wrong = number = 0
    for raw, _ in split.batches(size):
        batch = images.input(raw)
        expected, found = network(batch), run(batch)
        best = expected.topk(2, 1).values
        is_tie = best[:, 0] - best[:, 1] <= 2 * TOLERANCE * expected.abs().max()
        differs = expected.argmax(1) != found.argmax(1)
        ties, differ, number = ties + int(is_tie.sum()), differ + int(differs.sum()), number + differs.numel()
        wrong += int((differs & ~is_tie).sum())
    why += f"; {differ} of {number} decisions differ, and {ties} are ties (two logits within rounding)"
    allowed = int(ALLOWED_SHARE * number) if unpools(network) else 0
    return Measured(measured.split, measured.row, measured.score, why, wrong, allowed)
