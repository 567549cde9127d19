"""A small version of a trial's workload: an untrained network, few validation images, short fine-tunes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload, trace_model
from raprune.network.draws import drawn
from raprune.network.graph import Traced
from raprune.plugins.datasets.base import Splits
from raprune.study import FinetuneLength, TrialSpec
from raprune.study.seeds import digest

TIMED_BATCHES = 4
"""Batches of validation images: enough to separate the cost of a batch from that of a candidate."""
FEW_STEPS, MORE_STEPS = 1, 4
"""Steps of the two fine-tunes whose difference shows the cost of one step."""


def cost_key(trial: TrialSpec) -> str:
    """Trials with the same key have the same costs; it omits seeds, bounds, layers and methods."""
    settings = {key: value for key, value in trial.dataset.settings.items() if key != "split_seed"}
    finetune = trial.finetune.model_dump(exclude={"learning_rate", "weight_decay"})
    baseline = trial.baseline.model_dump(exclude={"seed", "learning_rate", "weight_decay"})
    parts = [part.model_dump() for part in (trial.model, trial.score, trial.scoring, trial.fidelity)]
    return digest(trial.dataset.name, settings, trial.guard, finetune, baseline, trial.residual, parts)


@dataclass(frozen=True)
class Small(Workload):
    """A small workload whose network and data are in memory."""

    network: nn.Module | None = None
    splits: Splits | None = None

    @classmethod
    def of_trial(cls, trial: TrialSpec, splits: Splits, inputs: Inputs) -> Small:
        whole, number = Workload.of(trial, Path()), num_scored(trial, splits)
        val = splits.val.take(torch.arange(min(number, TIMED_BATCHES * trial.scoring.batch_size)))
        with drawn(0):
            network = inputs.network(trial.model, splits.num_classes, splits.input_shape, fresh=True)
        values = {field.name: getattr(whole, field.name) for field in fields(whole)}
        if trial.fidelity.val_images is not None:
            values["fidelity"] = trial.fidelity.model_copy(update={"val_images": len(val)})
        return cls(**values, network=network, splits=replace(splits, val=val, test=None))

    def load_data(self, inputs: Inputs) -> Splits:
        del inputs
        assert self.splits is not None
        return self.splits

    def load_network(self, inputs: Inputs, num_classes: int, input_shape: tuple[int, int, int]) -> Traced:
        del inputs, num_classes
        assert self.network is not None
        return trace_model(copy.deepcopy(self.network), self.model, input_shape, self.residual)

    def load_val_order(self, num_images: int) -> Tensor:
        return torch.arange(num_images)  # to an untrained network no image is more fragile than another

    def with_steps(self, before_reward: int, batch_size: int) -> Small:
        """With ``before_reward`` steps before a reward, ``FEW_STEPS`` after a layer, ``MORE_STEPS`` at the end."""
        lengths = {"before_reward": before_reward, "after_layer": FEW_STEPS, "at_end": MORE_STEPS}
        settings = {name: FinetuneLength(steps=number) for name, number in lengths.items()}
        finetune, fidelity = self.finetune.model_copy(update=settings | {"batch_size": batch_size}), self.fidelity
        if fidelity.finetune_steps is not None:
            fidelity = fidelity.model_copy(update={"finetune_steps": before_reward})
        return replace(self, finetune=finetune, fidelity=fidelity, key=f"estimate-{self.key}-{before_reward}")


def num_scored(trial: TrialSpec, splits: Splits) -> int:
    """The largest number of validation images that a candidate is scored on."""
    return min(len(splits.val), trial.fidelity.val_images or len(splits.val))
