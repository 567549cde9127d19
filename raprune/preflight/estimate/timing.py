"""Times the evaluators' work: candidates at some layers, fine-tunes, scores, and the baseline's training.

A real engine does the work, on the device that the study would use here, with a small workload: an untrained network
(except for the early exit, a candidate's cost does not depend on the weights), few validation images, short fine-tunes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch

from raprune.engine import Engine, engine_kind, open_engine
from raprune.engine.batches import steps_per_epoch
from raprune.engine.inputs import Inputs
from raprune.engine.launches import masks_a_launch
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.preflight.estimate.clock import Drift, seconds
from raprune.preflight.estimate.small import FEW_STEPS, MORE_STEPS, Small, num_scored
from raprune.study import TrialSpec
from raprune.study.parts import EvaluatorsSpec

MOST_LAYERS = 5
"""Layers of an order at which candidates are timed."""
KEPT = 0.7
"""Share of its filters that a timed candidate keeps."""
HOPELESS = 1e9
"""A floor that no score reaches: scoring stops after the first batch."""


class Steps(NamedTuple):
    """Optimiser steps of a trial: its baseline's (0 with a checkpoint), before a reward, after a layer, at the end."""

    baseline: int
    reward: int
    commit: int
    final: int

    @classmethod
    def of(cls, trial: TrialSpec, num_train: int) -> Steps:
        finetune, fidelity = trial.finetune, trial.fidelity
        epoch = steps_per_epoch(num_train, finetune.batch_size)
        lengths = (finetune.before_reward, finetune.after_layer, finetune.at_end)
        reward, commit, final = (length.num_steps(epoch) for length in lengths)
        if fidelity.finetune_steps is not None or fidelity.recalibrates:
            reward = fidelity.finetune_steps or 0
        trained = trial.baseline.epochs * steps_per_epoch(num_train, trial.baseline.batch_size)
        return cls(0 if trial.baseline.checkpoint else trained, reward, commit, final)


class MaskCost(NamedTuple):
    """Seconds of a candidate of one layer.

    ``fixed_s``: independent of the images it sees, fine-tune included; ``batch_s``: per batch of images; ``cold_s``:
    once for all candidates of a state; ``together``: the share of ``fixed_s`` and ``batch_s`` that a mask costs where
    all masks of an update are scored in one call.
    """

    fixed_s: float
    batch_s: float
    cold_s: float
    together: float = 1.0


@dataclass
class Costs:
    """What one network on one data set costs, with one way of fine-tuning."""

    steps: Steps
    val_batches: int
    """Most batches that a candidate sees."""
    gives_up: bool = True
    """Whether the engine stops scoring a hopeless candidate."""
    masks: dict[str, MaskCost] = field(default_factory=dict)
    """Timed layer -> cost of a candidate for it, with nothing pruned before."""
    pruned: dict[tuple[str, ...], dict[str, float]] = field(default_factory=dict)
    """Order of layers -> timed layer -> its candidates' time, relative to ``masks``, with half of the filters of all
    earlier layers pruned."""
    step_s: float = 0.0
    """Seconds of a fine-tune's step on the whole network."""
    pruned_step: float = 1.0
    """A step with half of all filters pruned, relative to ``step_s``."""
    finetune_s: float = 0.0
    """Seconds of a fine-tune besides its steps: building the network, reading its weights."""
    val_s: float = 0.0
    """Seconds to score all of val."""
    test_s: float = 0.0
    look_s: float = 0.0
    """Seconds of a look at the guard images: two networks on all of them."""
    baseline_s: float = 0.0
    """Seconds of the baseline's training and scores."""
    open_s: float = 0.0
    """Seconds to load network and data in an evaluator."""
    model_bytes: int = 0

    def trained(self, num_steps: int, factor: float = 1.0) -> float:
        """Seconds of a fine-tune whose steps take ``factor`` times those of the whole network."""
        return self.finetune_s + num_steps * self.step_s * factor if num_steps else 0.0


def spread(layers: Sequence[str], number: int) -> list[str]:
    """``number`` of ``layers``, spread evenly: both ends first, then those that halve the gaps."""
    order, gaps = [0, len(layers) - 1], [(0, len(layers) - 1)]
    while gaps and len(set(order)) < min(number, len(layers)):
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if low < middle:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [layers[place] for place in dict.fromkeys(order)]


class Timer:
    """Times one network on one data set; after ``seconds_left`` only what the estimate cannot do without."""

    def __init__(
        self,
        trial: TrialSpec,
        device: str,
        spec: EvaluatorsSpec,
        drift: Drift,
        seconds_left: float,
        inputs: Inputs,
    ) -> None:
        self.trial, self.drift, self._ends = trial, drift, time.monotonic() + seconds_left
        self.data, self._inputs = inputs.data(trial.data), inputs
        self.small, steps = Small.of_trial(trial, self.data, inputs), Steps.of(trial, len(self.data.train))
        size, num_val = trial.scoring.batch_size, len(self.small.load_data(inputs).val)
        self.costs = Costs(steps, math.ceil(num_scored(trial, self.data) / size), engine_kind(spec).gives_up)
        gib = spec.cache_gib * num_val / len(self.data.val)  # so that the same share of the few images fits
        self._device, self._spec = device, spec.model_copy(update={"cache_gib": gib})
        self._num_batches, self._num_masks = math.ceil(num_val / size), 0
        opened: list[Engine] = []
        self.costs.open_s = seconds(lambda: opened.append(self._open(min(FEW_STEPS, steps.reward))))
        self.engine = opened[0]
        self._longer = self._open(MORE_STEPS) if steps.reward > FEW_STEPS else None
        self._whole = State.baseline(trial.baseline_key)
        self._full_s: dict[str, float] = {}

    def _open(self, reward_steps: int, batch_size: int | None = None) -> Engine:
        small = self.small.with_steps(reward_steps, batch_size or self.trial.finetune.batch_size)
        return open_engine(small, self._device, self._spec, inputs=self._inputs)

    def time_masks(self, order: tuple[str, ...], masks_per_update: int) -> None:
        """Candidates for some layers of ``order``, with nothing pruned and with half of the earlier layers' filters.

        Layers for which no time is left are interpolated from their neighbours; both ends are always timed.
        """
        ratios = self.costs.pruned[order] = {}
        for number, layer in enumerate(spread(order, MOST_LAYERS)):
            if number >= 2 and time.monotonic() >= self._ends:
                break
            if layer not in self.costs.masks:
                self.costs.masks[layer] = self._mask_cost(layer, masks_per_update)
            before = order[: order.index(layer)]
            ratios[layer] = _bounded(self._full(self._half(before), layer)[1] / self._full_s[layer]) if before else 1.0
            middle = order[len(order) // 2]
            again = partial(self.engine.evaluate, self._whole, middle, self._mask(middle), HOPELESS)
            again()  # rebuilds the state's network if it was dropped
            self.drift.sample(middle, again)

    def time_training(self) -> None:
        """Time fine-tunes, scores of val, and the baseline's training."""
        costs, spec, num_steps = self.costs, self.trial.baseline, MORE_STEPS - FEW_STEPS
        self.engine.finetune(self._whole, "commit", "")  # a process's first fine-tune also loads what training needs
        states = [self._whole]
        if time.monotonic() < self._ends:  # a cut state takes longer to build, however fast its steps are
            states.append(self._half(list(self.engine.graph.groups)))
        finetunes = [self._finetune(self.engine, state) for state in states]
        costs.step_s = max(1e-6, (finetunes[0][1] - finetunes[0][0]) / num_steps)
        costs.pruned_step = _bounded(finetunes[-1][1] / finetunes[0][1])
        costs.finetune_s = max(0.0, sum(few_s for few_s, _ in finetunes) / len(states) - FEW_STEPS * costs.step_s)
        first_s, again_s = (sum(seconds(partial(self.engine.measure, s, "val")) for s in states) for _ in range(2))
        image_s = again_s / len(states) / len(self.engine.splits.val)
        costs.val_s = max(0.0, first_s - again_s) / len(states) + image_s * len(self.data.val)
        costs.test_s = 0.0 if self.data.test is None else image_s * len(self.data.test)
        costs.look_s = 0.0 if self.data.guard is None else 2 * image_s * len(self.data.guard)
        costs.baseline_s = costs.val_s + costs.test_s
        if costs.steps.baseline:
            engine = self._open(0, spec.batch_size)
            torch.set_num_threads(spec.threads)
            engine.finetune(self._whole, "commit", "")
            few_s, more_s = self._finetune(engine, self._whole)
            torch.set_num_threads(self.trial.scoring.threads)
            costs.baseline_s += costs.steps.baseline * max(1e-6, (more_s - few_s) / num_steps)

    @staticmethod
    def _finetune(engine: Engine, state: State) -> tuple[float, float]:
        """Seconds of ``FEW_STEPS`` and of ``MORE_STEPS``."""
        few_s = seconds(lambda: engine.finetune(state, "commit", state.version))
        return few_s, seconds(lambda: engine.finetune(state, "final", state.version))

    def _mask_cost(self, layer: str, masks_per_update: int) -> MaskCost:
        (cold_s, full_s), batches = self._full(self._whole, layer), self._num_batches
        one_s = (self._evaluate(self._whole, layer, HOPELESS) + self._evaluate(self._whole, layer, HOPELESS)) / 2
        self._full_s[layer] = full_s
        can_tell = self.costs.gives_up and batches > 1
        batch_s = max(0.0, full_s - one_s) / (batches - 1) if can_tell else full_s / batches
        fixed_s = max(0.0, full_s - batches * batch_s)
        if self._longer is not None:
            more_s = self._evaluate(self._whole, layer, HOPELESS, engine=self._longer) - one_s
            fixed_s += (self.costs.steps.reward - FEW_STEPS) * max(0.0, more_s) / (MORE_STEPS - FEW_STEPS)
        cold_s = max(0.0, cold_s - full_s) * self.costs.val_batches / batches
        if masks_a_launch(self.trial, torch.device(self._device).type) == 1 or masks_per_update == 1:
            return MaskCost(fixed_s, batch_s, cold_s)
        _, all_s = (self._evaluate(self._whole, layer, number=masks_per_update) for _ in range(2))
        return MaskCost(fixed_s, batch_s, cold_s, min(1.0, all_s / masks_per_update / full_s))

    def _full(self, state: State, layer: str) -> tuple[float, float]:
        """Seconds of a first candidate that sees all images, and the mean of the next ones."""
        cold_s, *warm_s = (self._evaluate(state, layer) for _ in range(3))
        return cold_s, sum(warm_s) / len(warm_s)

    def _evaluate(
        self, state: State, layer: str, lowest: float | None = None, number: int = 1, engine: Engine | None = None
    ) -> float:
        masks, engine = [self._mask(layer) for _ in range(number)], engine or self.engine
        return seconds(lambda: engine.evaluate_many(state, layer, masks, lowest, [None] * number))

    def _mask(self, layer: str) -> KeepMask:
        """A different mask at each call."""
        self._num_masks += 1
        generator = torch.Generator().manual_seed(self._num_masks)
        mask = torch.rand(self.engine.graph.group(layer).num_filters, generator=generator) < KEPT
        mask[self._num_masks % len(mask)] = True
        return KeepMask.of(mask)

    def _half(self, layers: Sequence[str]) -> State:
        state, generator = self._whole, torch.Generator().manual_seed(0)
        for layer in layers:  # different filters in each: summands that keep the same ones need no gathers
            number = self.engine.graph.group(layer).num_filters
            mask = torch.randperm(number, generator=generator) < (number + 1) // 2
            state = state.cut(self.engine.graph, layer, KeepMask.of(mask))
        return state


def _bounded(ratio: float) -> float:
    """A pruned network's time relative to the whole one's, bounded; gathers into residual sums can make it slower."""
    return min(2.0, max(0.05, ratio))
