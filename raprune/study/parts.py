"""The parts of a study that are not plug-ins: fine-tuning, the baseline, scoring, evaluators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from raprune.registry import ENGINES, Settings
from raprune.study.names import NameOf

MAX_THREADS = 1024


class FinetuneLength(Settings):
    """How long a fine-tune is: ``{epochs: 1}`` or ``{steps: 20}``; 0 for none."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    epochs: int | None = Field(default=None, ge=0)
    """Passes over the training split."""
    steps: int | None = Field(default=None, ge=0)
    """Optimiser steps; they continue into the next pass where one is too short."""

    @model_validator(mode="after")
    def _one_of_them(self) -> FinetuneLength:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("must have exactly one of epochs and steps")
        return self

    def num_steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps in all."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


def _steps(number: int) -> FinetuneLength:
    return FinetuneLength(steps=number)


class FinetuneSpec(Settings):
    """SGD with Nesterov momentum and a learning rate that falls linearly to a hundredth, for every fine-tune."""

    before_reward: FinetuneLength = _steps(0)
    """Fine-tune of every candidate before it is scored; part of its fidelity."""
    after_layer: FinetuneLength = FinetuneLength(epochs=1)
    """Fine-tune after a layer has been cut for good; kept only within the drop bound."""
    at_end: FinetuneLength = _steps(0)
    """Fine-tune of the finished network; kept only within the drop bound."""
    learning_rate: float = Field(default=0.01, gt=0)
    """At the first step."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """Multiplied by each weight and added to its gradient."""
    batch_size: int = Field(default=64, ge=2)
    """Images per step."""


class BaselineSpec(Settings):
    """The trained, untouched network: from a checkpoint, or trained here with SGD and a one-cycle schedule."""

    checkpoint: str | None = None
    """Path of a state dict (``.safetensors``, or a ``.pt`` that holds only tensors); nothing is trained then."""
    seed: int = Field(default=0, ge=0)
    """Seed of its initial weights and batch order."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training split."""
    learning_rate: float = Field(default=0.05, gt=0)
    """The peak of the one-cycle schedule."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """Multiplied by each weight and added to its gradient."""
    batch_size: int = Field(default=64, ge=2)
    """Images per step."""
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    """Processor threads while training (if it is trained on a processor)."""


class ScoringSpec(Settings):
    """How candidates are scored; changes numbers in the last bits, so it is part of every trial."""

    batch_size: int = Field(default=100, ge=1)
    """Images per forward pass."""
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    """Processor threads of one evaluator."""


class EvaluatorsSpec(Settings):
    """Where and on how many evaluators candidates are scored; never changes a number."""

    count: int | Literal["auto"] = Field(default="auto", json_schema_extra={"minimum": 0})
    """Evaluators in the pool: a number, or ``auto`` for what the machine or cluster has; 0 scores in process."""
    gpu_share: float = Field(default=1.0, gt=0, le=1)
    """Share of a GPU one evaluator holds, where there are GPUs."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """``auto`` takes GPUs where the cluster has them. ``mps`` (Apple) is scored in process."""
    engine: Annotated[str, NameOf(ENGINES)] = "exact"
    """``naive`` is plain PyTorch, the reference: the whole network, masked, for every candidate."""
    dashboard: bool = False
    """Whether a Ray that is started for the study has its dashboard; needs ``ray[default]``."""
    cache_gib: float = Field(default=2.0, ge=0)
    """GiB per host (on GPUs: per evaluator) that keep the activations of the layers below the decided one."""

    @field_validator("count")
    @classmethod
    def _not_negative(cls, count: int | str) -> int | str:
        if isinstance(count, int) and count < 0:
            raise ValueError("must be 0 or more, or auto")
        return count
