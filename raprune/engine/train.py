"""SGD on a training split; every draw comes from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raprune.engine.batches import TrainBatches
from raprune.engine.captured import Gradients, Loss
from raprune.engine.training_file import TrainingFile
from raprune.network.draws import drawn
from raprune.network.optimisers import SGD
from raprune.plugins.datasets.base import Splits
from raprune.plugins.scores.base import Score


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum and a schedule over a fixed number of steps."""

    learning_rate: float
    momentum: float
    weight_decay: float
    batch_size: int
    schedule: Literal["one_cycle", "linear"]


def train(
    network: nn.Module,
    splits: Splits,
    score: Score,
    recipe: Recipe,
    num_steps: int,
    seed: int,
    file: TrainingFile | None = None,
) -> bool:
    """Train ``network`` in place for ``num_steps`` optimiser steps and leave it in eval mode.

    Batches, augmentations and dropout depend on ``seed`` alone. A long training writes its state to ``file`` from time
    to time; one that was cut short goes on from there, and ends with the same weights to the last bit. Returns whether
    the training stayed finite: ``False`` where a loss or a trained weight became NaN or infinite.
    """
    batches = TrainBatches(splits, recipe.batch_size, num_steps, seed, next(network.parameters()).dtype)
    return train_on(network, batches, score.loss, recipe, num_steps, seed, file)


def train_on(
    network: nn.Module,
    batches: Iterable[tuple[tuple[Any, ...], Tensor]],
    loss_of: Loss,
    recipe: Recipe,
    num_steps: int,
    seed: int,
    file: TrainingFile | None = None,
) -> bool:
    """As :func:`train`, on ``num_steps`` given batches: the network's inputs, and the labels.

    The optimiser is built here from the network's current parameters, so it never refers to removed filters. ``file``
    serves where ``batches`` can be taken up in their middle.
    """
    if num_steps == 0:
        network.eval()
        return True
    course = Course(network, loss_of, recipe, num_steps)
    known = batches if isinstance(batches, TrainBatches) else None
    network.train()
    with drawn(seed):  # for dropout
        if file is not None and known is not None:
            file.load(lambda tensors: course.take_up(tensors, known))
        for inputs, labels_B in batches:
            course.learn(inputs, labels_B)
            if file is not None and known is not None and file.is_due():
                file.save(course.tensors(known))
    network.eval()
    if file is not None and known is not None:
        file.end(course.tensors(known))
    return course.is_finite()


class Course:
    """A training under way: the network, its optimiser, and how far it is."""

    def __init__(self, network: nn.Module, loss_of: Loss, recipe: Recipe, num_steps: int) -> None:
        self.network = network
        self.num_steps = num_steps
        self.device = next(network.parameters()).device
        self._trained = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
        self._optimiser = SGD(
            self._trained.values(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
        self._gradients = Gradients(network, loss_of, num_steps)
        self._rate, self._factor = recipe.learning_rate, _schedule(recipe, num_steps)
        self._step = 0
        self._finite = torch.ones((), dtype=torch.bool, device=self.device)
        """Whether all losses were; read once, at the end: each read makes a GPU wait."""

    def learn(self, inputs: tuple[Any, ...], labels_B: Tensor) -> None:
        """One step of the optimiser."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * self._factor(self._step)
        loss = self._gradients(inputs, labels_B)
        self._optimiser.step()
        self._finite = self._finite & loss.isfinite()
        self._step += 1

    def is_finite(self) -> bool:
        """Whether all losses so far and all trained weights are."""
        return bool(self._finite) and all(bool(tensor.isfinite().all()) for tensor in self._trained.values())

    def tensors(self, batches: TrainBatches) -> dict[str, Tensor]:
        """Everything on which the rest of the training depends, by name; at its end, its result."""
        found = {f"network.{name}": tensor for name, tensor in self._network().items()}
        if self._step < self.num_steps:
            found |= {f"momentum.{name}": tensor for name, tensor in self._momentum().items()}
        found |= {f"batches.{name}": tensor for name, tensor in batches.place().items()}
        found |= {f"random.{name}": tensor for name, tensor in _random_states(self.device).items()}
        return found | {"step": torch.tensor(self._step), "finite": self._finite}

    def take_up(self, tensors: Mapping[str, Tensor], batches: TrainBatches) -> None:
        """Go on from what :meth:`tensors` returned.

        Raises ValueError, KeyError or RuntimeError, and has changed nothing, where that was of another training.
        """
        step, network = int(tensors["step"]), _part(tensors, "network")
        momentum, random = _part(tensors, "momentum"), _part(tensors, "random")
        _check_alike(network, self._network(), set(self._network()))
        _check_alike(momentum, self._trained, set(momentum))
        _check_alike(random, _random_states(self.device), set(_random_states(self.device)))
        if not 0 < step <= self.num_steps:
            raise ValueError(f"it stands at step {step} of {self.num_steps}")
        for name, state in random.items():
            torch.Generator("cpu" if name == "cpu" else self.device).set_state(state)  # raises for what is none
        batches.go_to(step, _part(tensors, "batches"))
        _set_random_states(self.device, random)
        with torch.no_grad():
            for name, tensor in self._network().items():
                tensor.copy_(network[name])
        for name, value in momentum.items():  # in the layout of its parameter, as the optimiser makes it
            parameter = self._trained[name]
            self._optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(value)
        self._step, self._finite = step, tensors["finite"].to(self.device)

    def _network(self) -> dict[str, Tensor]:
        """Parameters and buffers, also those that are not saved with a network."""
        return {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}

    def _momentum(self) -> dict[str, Tensor]:
        states = {name: self._optimiser.state.get(tensor, {}) for name, tensor in self._trained.items()}
        momentum = {name: state.get("momentum_buffer") for name, state in states.items()}
        return {name: tensor for name, tensor in momentum.items() if tensor is not None}


def _part(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}.")}


def _check_alike(found: Mapping[str, Tensor], like: Mapping[str, Tensor], names: set[str]) -> None:
    if set(found) != names or not names <= set(like):
        raise ValueError("it has other tensors")
    for name in names:
        if found[name].shape != like[name].shape or found[name].dtype != like[name].dtype:
            raise ValueError(f"{name} has another shape or type")


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """States of the generators from which layers such as dropout draw."""
    states = {"cpu": torch.get_rng_state()}
    if device.type in ("cuda", "mps"):
        states[device.type] = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.mps.get_rng_state()
    return states


def _set_random_states(device: torch.device, states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def _schedule(recipe: Recipe, num_steps: int) -> Callable[[int], float]:
    """Factor on the learning rate: linear from 1 to 0.01; one_cycle rises over 30% and falls as a cosine."""
    if recipe.schedule == "linear":
        return lambda step: 1.0 - 0.99 * min(step, num_steps) / num_steps
    rise = max(1, round(0.3 * num_steps))

    def one_cycle(step: int) -> float:
        if step < rise:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rise))
        return max(1e-4, 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, num_steps - rise))))

    return one_cycle
