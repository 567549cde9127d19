"""What an evaluator computes besides the scores of masks: one frozen task each, which calls the engine.

A task is sent to the engine that computes it, in this process or another. To add one, write a class here and its
caller: evaluators, their retries and the memo treat all tasks alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from raprune.engine.base import Engine
from raprune.engine.box_pictures import box_pictures
from raprune.engine.launches import Purpose
from raprune.engine.page_copy import page_copy
from raprune.engine.paired import Paired, PairedCounts
from raprune.engine.pictures import Batch, choose, choose_pictures
from raprune.engine.probe import NetworkProbe
from raprune.engine.refit import refitted
from raprune.errors import InputError
from raprune.network.lowrank.factor import Factor
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.base import Criterion, LeastSquares
from raprune.plugins.scores.mean_average_precision import MeanAveragePrecision

T_co = TypeVar("T_co", covariant=True)


class Task(ABC, Generic[T_co]):
    """Work on one state, picklable like its result, which depends only on task, state, workload and device type."""

    @property
    def name(self) -> str:
        """The kind of work, for error messages and for judging whether a call takes too long."""
        return type(self).__name__.lower()

    @abstractmethod
    def run(self, engine: Engine, state: State) -> T_co:
        """Compute the result for ``state`` with ``engine``."""


@dataclass(frozen=True)
class Candidate(Task[State]):
    """The state with ``layer`` cut to ``mask``, fine-tuned before the reward or recalibrated as candidates are."""

    layer: str
    mask: KeepMask

    def run(self, engine: Engine, state: State) -> State:
        return engine.candidate(state, self.layer, self.mask)


@dataclass(frozen=True)
class Finetune(Task[State]):
    """The state after the study's fine-tune for ``purpose``."""

    purpose: Purpose
    seeded_by: str
    """The version of a state."""

    @property
    def name(self) -> str:
        return f"finetune {self.purpose}"

    def run(self, engine: Engine, state: State) -> State:
        return engine.finetune(state, self.purpose, self.seeded_by)


@dataclass(frozen=True)
class Measure(Task[float]):
    """The score of the state on a whole split, percent; :class:`PageCopy` alone opens ``test``, too."""

    split: str

    @property
    def name(self) -> str:
        return f"measure {self.split}"

    def run(self, engine: Engine, state: State) -> float:
        return engine.measure(state, self.split)


@dataclass(frozen=True)
class Importance(Task[list[float]]):
    """The importance of each filter that is left of ``layer``; raises :class:`InputError` unless all are finite."""

    layer: str
    criterion: Criterion

    def run(self, engine: Engine, state: State) -> list[float]:
        probe = NetworkProbe(engine, state, self.layer)
        importance_N = self.criterion.importance(probe).double()
        if importance_N.shape != (probe.num_filters,) or not importance_N.isfinite().all():
            name = type(self.criterion).__name__
            raise InputError(f"the criterion {name} must return one finite number for each filter of {self.layer}")
        values: list[float] = importance_N.tolist()
        return values


@dataclass(frozen=True)
class Look(Task[Paired]):
    """The state beside the baseline on the guard images, which no other task opens."""

    @torch.inference_mode()
    def run(self, engine: Engine, state: State) -> Paired:
        guard = engine.splits.split("guard")
        baseline, pruned = engine.forward(State.baseline(engine.workload.baseline_key)), engine.forward(state)
        counts = PairedCounts(engine.score, len(guard))
        for raw, labels in guard.batches(engine.workload.scoring.batch_size):
            counts.add(baseline(engine.as_input(raw)), pruned(engine.as_input(raw)), labels)
        return counts.result()


@dataclass(frozen=True)
class Energies(Task[list[float]]):
    """The energy of each component of ``layer`` under a low-rank scheme, largest first."""

    layer: str
    scheme: str
    num_images: int
    """Number of seeded training images, for schemes that need responses."""

    def run(self, engine: Engine, state: State) -> list[float]:
        energies: list[float] = engine.decomposed(state, self.layer, self.scheme, self.num_images).energies_R.tolist()
        return energies


@dataclass(frozen=True)
class Factorise(Task[State]):
    """The state with ``layer`` replaced by ``factor``; :class:`Energies` lists the layer's components."""

    layer: str
    factor: Factor
    num_images: int

    def run(self, engine: Engine, state: State) -> State:
        pair = engine.decomposed(state, self.layer, self.factor.scheme, self.num_images).tensors(self.factor.rank)
        return state.factorised(engine.graph, engine.weights, self.layer, self.factor, pair)


@dataclass(frozen=True)
class Refit(Task[State]):
    """The state with ``layer`` cut to ``mask`` and the layers that read it refitted by least squares."""

    layer: str
    mask: KeepMask
    on: LeastSquares

    def run(self, engine: Engine, state: State) -> State:
        return refitted(engine, state, self.layer, self.mask, self.on)


@dataclass(frozen=True)
class Pictures(Task[list[dict[str, Any]]]):
    """Rows of ``pictures``: val images on which the state is better, equal or worse.

    None but for labels per pixel, and for boxes that ``mean_average_precision`` scores.
    """

    @torch.inference_mode()
    def run(self, engine: Engine, state: State) -> list[dict[str, Any]]:
        val, size = engine.splits.val, engine.workload.scoring.batch_size
        score, names = engine.score, engine.splits.class_names
        if val.kind != "pixel" and not isinstance(score, MeanAveragePrecision):
            return []
        baseline, pruned = engine.forward(State.baseline(engine.workload.baseline_key)), engine.forward(state)

        def batches() -> Iterator[Batch]:
            for start in range(0, len(val), size):
                raw, labels = val.images_BCHW[start : start + size], val.labels_B[start : start + size]
                yield raw, labels, baseline(engine.as_input(raw)), pruned(engine.as_input(raw)), start

        if isinstance(score, MeanAveragePrecision):
            return choose(box_pictures(batch, score, names) for batch in batches())
        return choose_pictures(batches(), class_names=names)


@dataclass(frozen=True)
class PageCopy(Task[dict[str, Any] | None]):
    """A small copy of the network for the report's page, see :func:`raprune.engine.page_copy.page_copy`."""

    def run(self, engine: Engine, state: State) -> dict[str, Any] | None:
        return page_copy(engine, state)
