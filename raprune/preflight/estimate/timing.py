"""Times what evaluators do: candidates at some layers low to high, fine-tunes, scores, and the baseline's training.

The public calls of an engine are timed as an evaluator would make them, on the device that the study would use here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from raprune.engine import Engine, engine_kind, open_engine
from raprune.engine.inputs import Inputs
from raprune.engine.split import channels_last
from raprune.engine.train import Recipe, train
from raprune.engine.workload import trace_model
from raprune.launch.in_flight import masks_per_update
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.preflight.estimate.clock import Deadline, Drift, seconds
from raprune.preflight.estimate.reduced import FEW_STEPS, MORE_STEPS, Steps, reduced, scored_images, untrained
from raprune.study import TrialSpec
from raprune.study.parts import EvaluatorsSpec

MOST_LAYERS = 5
"""Layers at which candidates are timed."""
KEPT = 0.7
"""Share of its filters that a timed candidate keeps."""
HOPELESS = 1e9
"""A floor that no score reaches: the candidate is given up after the first batch."""


@dataclass(frozen=True)
class MaskCost:
    """Seconds of a candidate of one layer."""

    fixed_s: float
    """Whatever number of images is seen; the fine-tune before the reward is in it."""
    batch_s: float
    """A batch of validation images."""
    cold_s: float
    """Once for all candidates of a state: what the layers below give, for all images."""
    together: float = 1.0
    """Of these seconds those that a mask takes when an update's masks are scored in one call."""

    def candidate_s(self, num_batches: float) -> float:
        return self.fixed_s + num_batches * self.batch_s


@dataclass
class Costs:
    """What one network on one data set costs, with one way of fine-tuning."""

    steps: Steps
    val_batches: int
    """Of a candidate, at most."""
    gives_up: bool = True
    """Whether the engine leaves off scoring a hopeless candidate."""
    masks: dict[str, MaskCost] = field(default_factory=dict)
    """Timed layer -> a candidate of it, nothing pruned before."""
    pruned: dict[tuple[str, ...], dict[str, float]] = field(default_factory=dict)
    """Order of layers -> timed layer -> its candidates' time with half of the filters of all earlier layers pruned,
    relative to ``masks``."""
    step_s: float = 0.0
    """Of a committed fine-tune of the whole network."""
    pruned_step: float = 1.0
    """A fine-tune with half of all filters pruned, relative to that."""
    finetune_s: float = 0.0
    """Of a fine-tune beside its steps: building the network, taking its weights out."""
    val_s: float = 0.0
    """A score of the whole of val."""
    test_s: float = 0.0
    baseline_s: float = 0.0
    """The baseline's training and its scores."""
    open_s: float = 0.0
    """Loading network and data in an evaluator."""

    def mask(self, layer: str, layers: Sequence[str]) -> MaskCost:
        """A candidate of ``layer``, between the nearest timed ones; ``layers`` are all, low to high."""
        places = [layers.index(timed) for timed in self.masks]
        parts = [(c.fixed_s, c.batch_s, c.cold_s, c.together) for c in self.masks.values()]
        return MaskCost(*_between(layers.index(layer), places, parts))

    def half_pruned(self, layer: str, order: tuple[str, ...]) -> float:
        """``pruned`` of any layer of an order; the first of an order has nothing pruned before it."""
        found = {order.index(timed): (ratio,) for timed, ratio in self.pruned.get(order, {}).items()} | {0: (1.0,)}
        return float(_between(order.index(layer), list(found), list(found.values()))[0])


def _between(place: int, places: Sequence[int], values: Sequence[Sequence[float]]) -> list[float]:
    by_place = sorted(zip(places, values, strict=True))
    known = [p for p, _ in by_place]
    return [float(np.interp(place, known, column)) for column in zip(*(v for _, v in by_place), strict=True)]


def _bounded(ratio: float) -> float:
    """A pruned network's time relative to the whole one's; gathers into residual sums can make it the slower one."""
    return min(2.0, max(0.05, ratio))


def spread(layers: Sequence[str], number: int) -> list[str]:
    """``number`` of ``layers`` from end to end: the ends first, then what halves the gaps."""
    order, gaps = [0, len(layers) - 1], [(0, len(layers) - 1)]
    while gaps and len(set(order)) < min(number, len(layers)):
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if low < middle:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [layers[place] for place in dict.fromkeys(order)]


@dataclass(frozen=True)
class _StateCosts:
    """Seconds of what is done with a state."""

    few_s: float
    """Fine-tunes of few and of more steps."""
    more_s: float
    first_s: float
    """Its first score on the timed images: its network is built and compiled."""
    again_s: float


class Timer:
    """Times one network on one data set."""

    def __init__(self, trial: TrialSpec, device: str, spec: EvaluatorsSpec, drift: Drift, inputs: Inputs) -> None:
        self.trial = trial
        self.drift = drift
        self.data = inputs.data(trial.dataset)
        self.network = untrained(trial, inputs)
        batch = trial.scoring.batch_size
        number = math.ceil(scored_images(trial, len(self.data.val)) / batch)
        self.costs = Costs(Steps.of(trial, len(self.data.train)), number, gives_up=engine_kind(spec).gives_up)
        timed_steps = min(self.costs.steps.reward, MORE_STEPS)
        if timed_steps == MORE_STEPS:
            timed_steps = FEW_STEPS
        workload = reduced(trial, self.network, self.data, timed_steps)
        assert workload.splits is not None
        self.timed_batches = math.ceil(len(workload.splits.val) / batch)
        share = len(workload.splits.val) / len(self.data.val)
        small = spec.model_copy(update={"cache_gib": spec.cache_gib * share})  # of few images as many fit
        self.costs.open_s = seconds(lambda: self._open(workload, device, small))
        self.longer: Engine | None = None
        if self.costs.steps.reward > timed_steps:
            self.longer = open_engine(reduced(trial, self.network, self.data, MORE_STEPS), device, small)
        self.more_steps = self.costs.steps.reward - timed_steps
        self._device = device
        self._number = 0
        self._full_s: dict[str, float] = {}

    def _open(self, workload: object, device: str, spec: EvaluatorsSpec) -> None:
        self.engine: Engine = open_engine(workload, device, spec)  # type: ignore[arg-type]

    def time_masks(self, layers: Sequence[str], orders: Sequence[tuple[str, ...]], deadline: Deadline) -> None:
        """Candidates of some of ``layers``, with nothing pruned and, for each order, with earlier layers half pruned.

        What the deadline leaves out is taken from the nearest layers; the ends of each order are timed in any case.
        """
        whole = State.baseline(self.trial.baseline_key)
        for number, layer in enumerate(spread(layers, MOST_LAYERS)):
            if number >= 2 and deadline.passed:
                break
            self.costs.masks[layer] = self._mask_cost(whole, layer)
            self._sample(whole, layers[len(layers) // 2])
        for order in orders:
            timed = [layer for layer in spread(order, MOST_LAYERS) if order.index(layer) > 0]
            ratios = self.costs.pruned.setdefault(order, {})
            for number, layer in enumerate(timed):
                if number >= 1 and deadline.passed:
                    break
                before = order[: order.index(layer)]
                ratios[layer] = self._relative(self._half(before), layer)
                self._sample(whole, layers[len(layers) // 2])

    def time_training(self, deadline: Deadline) -> None:
        """Fine-tunes, scores of val, and the baseline's training."""
        costs, whole = self.costs, State.baseline(self.trial.baseline_key)
        self._finetune(whole, "commit")  # the first one of a process also loads what training needs
        found = [self._state_costs(whole)]
        if not deadline.passed:  # a state that was cut takes longer to build, whatever its steps take then
            found.append(self._state_costs(self._half(list(self.engine.graph.groups))))
        costs.step_s = max(1e-6, (found[0].more_s - found[0].few_s) / (MORE_STEPS - FEW_STEPS))
        costs.pruned_step = _bounded(found[-1].more_s / found[0].more_s)
        few_s, first_s, again_s = (
            sum(getattr(of, name) for of in found) / len(found) for name in ("few_s", "first_s", "again_s")
        )
        costs.finetune_s = max(0.0, few_s - FEW_STEPS * costs.step_s)
        batches = {name: len(split) / len(self.engine.splits.val) for name, split in self._scored().items()}
        costs.val_s = max(0.0, first_s - again_s) + again_s * batches["val"]
        costs.test_s = again_s * batches.get("test", 0.0)
        costs.baseline_s = costs.val_s + costs.test_s + self._baseline_s()

    def _state_costs(self, state: State) -> _StateCosts:
        few_s, tuned = self._finetune(state, "commit")
        more_s, _ = self._finetune(state, "final")
        first_s, again_s = (seconds(lambda: self.engine.measure(tuned, "val")) for _ in range(2))
        return _StateCosts(few_s, more_s, first_s, again_s)

    def _scored(self) -> Mapping[str, Sequence[object]]:
        parts = {"val": self.data.val, "test": self.data.test}
        return {name: range(len(part)) for name, part in parts.items() if part is not None}

    def _baseline_s(self) -> float:
        if not self.costs.steps.baseline:
            return 0.0
        spec = self.trial.baseline
        recipe = Recipe(spec.learning_rate, spec.momentum, spec.weight_decay, spec.batch_size, "one_cycle")
        traced = trace_model(copy.deepcopy(self.network), self.trial.model, self.data.input_shape)
        network = channels_last(traced.network.to(self._device))

        def training(num_steps: int) -> Callable[[], object]:
            return lambda: train(network, self.engine.splits, self.engine.score, recipe, num_steps, 0)

        torch.set_num_threads(spec.threads)
        try:
            seconds(training(1))
            few_s, more_s = seconds(training(FEW_STEPS)), seconds(training(MORE_STEPS))
        finally:
            torch.set_num_threads(self.trial.scoring.threads)
        return self.costs.steps.baseline * max(1e-6, (more_s - few_s) / (MORE_STEPS - FEW_STEPS))

    def _finetune(self, state: State, purpose: str) -> tuple[float, State]:
        found: list[State] = []
        took_s = seconds(lambda: found.append(self.engine.finetune(state, purpose, state.version)))  # type: ignore[arg-type]
        return took_s, found[0]

    def _mask_cost(self, state: State, layer: str) -> MaskCost:
        cold_s = self._evaluate(state, layer)
        full_s = (self._evaluate(state, layer) + self._evaluate(state, layer)) / 2
        one_s = (self._evaluate(state, layer, HOPELESS) + self._evaluate(state, layer, HOPELESS)) / 2
        self._full_s[layer] = full_s
        batches = self.timed_batches
        if batches == 1 or not self.costs.gives_up:
            batch_s = full_s / batches
        else:
            batch_s = max(0.0, full_s - one_s) / (batches - 1)
        fixed_s = max(0.0, full_s - batches * batch_s)
        if self.longer is not None:
            longer_s = seconds(lambda: self._score(self.longer, state, layer, HOPELESS, 1))
            fixed_s += self.more_steps * max(0.0, longer_s - one_s) / (MORE_STEPS - FEW_STEPS)
        cold_s = max(0.0, cold_s - full_s) * self.costs.val_batches / batches
        return MaskCost(fixed_s, batch_s, cold_s, self._together(state, layer, full_s))

    def _together(self, state: State, layer: str, full_s: float) -> float:
        """On a GPU an update's masks share their launches."""
        number = masks_per_update(self.trial)
        if not self._device.startswith("cuda") or number == 1:
            return 1.0
        self._score(self.engine, state, layer, None, number)
        return min(1.0, seconds(lambda: self._score(self.engine, state, layer, None, number)) / number / full_s)

    def _relative(self, state: State, layer: str) -> float:
        """A candidate's time in ``state``, relative to that in the whole network."""
        if layer not in self._full_s:
            self._full_s[layer] = self._warm_s(State.baseline(self.trial.baseline_key), layer)
        return _bounded(self._warm_s(state, layer) / self._full_s[layer])

    def _warm_s(self, state: State, layer: str) -> float:
        self._evaluate(state, layer)
        return (self._evaluate(state, layer) + self._evaluate(state, layer)) / 2

    def _evaluate(self, state: State, layer: str, lowest: float | None = None) -> float:
        return seconds(lambda: self._score(self.engine, state, layer, lowest, 1))

    def _score(self, engine: Engine | None, state: State, layer: str, lowest: float | None, number: int) -> None:
        assert engine is not None
        masks = [self._mask(layer) for _ in range(number)]
        engine.evaluate_many(state, layer, masks, lowest, [None] * number)

    def _mask(self, layer: str) -> KeepMask:
        """Another one each time."""
        self._number += 1
        generator = torch.Generator().manual_seed(self._number)
        mask = torch.rand(self.engine.graph.group(layer).num_filters, generator=generator) < KEPT
        mask[self._number % len(mask)] = True
        return KeepMask.of(mask)

    def _half(self, layers: Sequence[str]) -> State:
        state, generator = State.baseline(self.trial.baseline_key), torch.Generator().manual_seed(0)
        for layer in layers:
            number = self.engine.graph.group(layer).num_filters
            kept = torch.randperm(number, generator=generator)[: (number + 1) // 2]
            mask = torch.zeros(number, dtype=torch.bool)
            mask[kept] = True  # other filters in each layer: summands that keep the same ones would need no gathers
            state = state.cut(self.engine.graph, layer, KeepMask.of(mask))
        return state

    def _sample(self, state: State, layer: str) -> None:
        mask = self._mask(layer)
        self.engine.evaluate(state, layer, mask, HOPELESS)  # builds the state's network, where it was let go of
        self.drift.sample(layer, lambda: self.engine.evaluate(state, layer, mask, HOPELESS))
