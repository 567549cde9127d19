"""A trial's workload in small, to be timed: the network without its training, few validation images, short fine-tunes.

What a candidate costs does not depend on the weights, but for the early exit, which the estimate treats apart.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from raprune.engine.inputs import Inputs
from raprune.engine.train import steps_per_epoch
from raprune.engine.workload import Workload, trace_model
from raprune.network.graph import Traced
from raprune.network.weights import load_checkpoint
from raprune.plugins.datasets.base import Split, Splits
from raprune.study import FinetuneLength, TrialSpec
from raprune.study.seeds import digest
from raprune.system.paths import expanded

TIMED_BATCHES = 4
"""Of the validation images: enough to tell what a batch costs from what a candidate costs."""
FEW_STEPS, MORE_STEPS = 1, 4
"""Steps of the two fine-tunes that tell what one step costs."""


@dataclass(frozen=True)
class Reduced(Workload):
    """A workload whose network and data are given."""

    network: nn.Module | None = None
    splits: Splits | None = None

    def load_data(self, inputs: Inputs) -> Splits:
        del inputs
        assert self.splits is not None
        return self.splits

    def load_network(self, inputs: Inputs, num_classes: int, input_shape: tuple[int, int, int]) -> Traced:
        del inputs, num_classes
        assert self.network is not None
        return trace_model(copy.deepcopy(self.network), self.model, input_shape, self.residual)

    def load_val_order(self, num_images: int) -> Tensor:
        return torch.arange(num_images)  # its weights are nobody's: no image is more fragile than another


@dataclass(frozen=True)
class Steps:
    """Optimiser steps of a trial's trainings."""

    baseline: int
    """0 where the baseline is a checkpoint."""
    reward: int
    """Before each reward, at the trial's fidelity."""
    commit: int
    final: int

    @classmethod
    def of(cls, trial: TrialSpec, num_train: int) -> Steps:
        finetune, fidelity, baseline = trial.finetune, trial.fidelity, trial.baseline
        epoch = steps_per_epoch(num_train, finetune.batch_size)
        reward = finetune.before_reward.num_steps(epoch) if fidelity.finetune_steps is None else fidelity.finetune_steps
        trained = baseline.epochs * steps_per_epoch(num_train, baseline.batch_size)
        return cls(
            trained if baseline.checkpoint is None else 0, 0 if fidelity.recalibrates else reward,
            finetune.after_layer.num_steps(epoch), finetune.at_end.num_steps(epoch),
        )  # fmt: skip


def cost_key(trial: TrialSpec) -> str:
    """Trials of one key have the same costs: seeds, bounds, layers and methods are not in it."""
    finetune, baseline = trial.finetune.model_dump(), trial.baseline.model_dump()
    settings = {key: value for key, value in trial.dataset.settings.items() if key != "split_seed"}
    return digest(
        trial.model.model_dump(), trial.dataset.name, settings, trial.score.model_dump(), trial.scoring.model_dump(),
        {key: finetune[key] for key in ("before_reward", "after_layer", "at_end", "batch_size", "momentum")},
        {key: baseline[key] for key in ("checkpoint", "epochs", "batch_size", "momentum", "threads")},
        trial.residual, trial.fidelity.model_dump(),
    )  # fmt: skip


def untrained(trial: TrialSpec, inputs: Inputs) -> nn.Module:
    """The trial's network: the checkpoint's, else with initial weights (nothing is downloaded)."""
    splits = inputs.data(trial.dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = inputs.network(trial.model, splits.num_classes, splits.input_shape, fresh=True)
    if trial.baseline.checkpoint is not None:
        load_checkpoint(network, expanded(trial.baseline.checkpoint))
    return network


def reduced(trial: TrialSpec, network: nn.Module, splits: Splits, reward_steps: int) -> Reduced:
    """The workload of ``trial`` in small, with fine-tunes of ``reward_steps``, few and more steps."""
    number = min(len(splits.val), TIMED_BATCHES * trial.scoring.batch_size)
    small = replace(splits, val=_first(splits.val, number), test=None)
    fidelity = trial.fidelity
    if fidelity.val_images is not None:
        fidelity = fidelity.model_copy(update={"val_images": min(fidelity.val_images, number)})
    if fidelity.finetune_steps is not None:
        fidelity = fidelity.model_copy(update={"finetune_steps": reward_steps})
    lengths = {"before_reward": reward_steps, "after_layer": FEW_STEPS, "at_end": MORE_STEPS}
    spec = trial.finetune.model_copy(update={name: FinetuneLength(steps=number) for name, number in lengths.items()})
    whole = Workload.of(trial, Path())
    values = {f.name: getattr(whole, f.name) for f in fields(whole)}
    values |= {"finetune": spec, "fidelity": fidelity, "key": f"estimate-{cost_key(trial)}-{reward_steps}"}
    return Reduced(**values, network=network, splits=small)


def scored_images(trial: TrialSpec, num_val: int) -> int:
    """Validation images that a candidate is scored on, at most."""
    return min(num_val, trial.fidelity.val_images or 2**62)


def _first(split: Split, number: int) -> Split:
    return Split(split.images_BCHW[:number], split.labels_B[:number])
