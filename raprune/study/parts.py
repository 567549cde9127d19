"""The parts of a study that are not plug-ins: fine-tuning, the baseline, scoring, evaluators."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

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
    min: int | None = Field(default=None, ge=1)
    """Instead of ``count``: the study begins once this many evaluators are there, and waits for them; default 1."""
    max: int | None = Field(default=None, ge=1)
    """With or without ``min``: the pool grows and shrinks with the cluster, up to this many evaluators."""
    gpu_share: float = Field(default=1.0, gt=0, le=1)
    """Share of a GPU one evaluator holds, where there are GPUs."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """``auto`` takes GPUs where the cluster has them. ``mps`` (Apple) is scored in process."""
    accelerator_type: str | None = Field(default=None, min_length=1)
    """Use only GPUs of this type, as Ray names it (``A100``); default: all types. Rows of two types may differ."""
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

    @model_validator(mode="after")
    def _a_number_or_a_range(self) -> EvaluatorsSpec:
        if self.count != "auto" and self.has_range:
            raise ValueError("has either count, or min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min}, more than max, which is {self.max}")
        return self

    @property
    def has_range(self) -> bool:
        """Whether the size of the pool follows the cluster between ``min`` and ``max``."""
        return self.min is not None or self.max is not None


class DataSpec(Settings):
    """How a machine holds and decodes images; never changes a number."""

    memory_gib: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """GiB of memory for a data set's decoded images. Training images of a larger one are decoded again for each batch,
    and its other images once, into files that all processes of a machine map. ``auto``: half of its memory."""
    workers: Annotated[int, Field(ge=0, le=MAX_THREADS)] | Literal["auto"] = "auto"
    """Processes with which one evaluator decodes training images; 0 for threads of its own. ``auto``: the machine's
    processors, divided among the evaluators."""
    cache: str = "~/.cache/raprune"
    """Folder for what large data sets keep between runs: digests of their files, and pixels; may be deleted."""

    @classmethod
    def written(cls, given: Any) -> DataSpec:
        """What a study file says under ``data``; the defaults where it is wrong, which is reported elsewhere."""
        try:
            return cls.model_validate(given or {})
        except ValidationError:
            return cls()
