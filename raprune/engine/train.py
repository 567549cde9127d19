"""SGD on a training split; every draw comes from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.datasets.stream import Stream
from raprune.plugins.scores.base import Score

Keep = Callable[[int, Callable[[], Tensor]], Tensor]
"""The images of a step that were kept; otherwise those that the function decodes."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""From what the network returns and the labels to a scalar."""


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum and a schedule over a fixed number of steps."""

    learning_rate: float
    momentum: float
    weight_decay: float
    batch_size: int
    schedule: Literal["one_cycle", "linear"]


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Batches per epoch; a last batch of a single image is left out, because batch norm cannot train on it."""
    full, rest = divmod(num_images, batch_size)
    return full + (1 if rest > 1 else 0)


def train(
    network: nn.Module,
    splits: Splits,
    score: Score,
    recipe: Recipe,
    num_steps: int,
    seed: int,
    keep: Keep | None = None,
) -> bool:
    """Train ``network`` in place for ``num_steps`` optimiser steps and leave it in eval mode.

    Batches, augmentations and dropout depend on ``seed`` alone. ``keep`` is that of :func:`train_batches`. Returns
    whether the training stayed finite: ``False`` where a loss or a trained weight became NaN or infinite.
    """
    dtype = next(network.parameters()).dtype
    batches = train_batches(splits, recipe.batch_size, num_steps, seed, dtype, keep)
    inputs = (((images,), labels) for images, labels in batches)
    return train_on(network, inputs, score.loss, recipe, num_steps, seed)


def train_on(
    network: nn.Module,
    batches: Iterable[tuple[tuple[Any, ...], Tensor]],
    loss_of: Loss,
    recipe: Recipe,
    num_steps: int,
    seed: int,
) -> bool:
    """As :func:`train`, on ``num_steps`` given batches: the network's inputs, and the labels.

    The optimiser is built here from the network's current parameters, so it never refers to removed filters.
    """
    if num_steps == 0:
        network.eval()
        return True
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(
        trained,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    factor = _schedule(recipe, num_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    network.train()
    device = next(network.parameters()).device
    finite = torch.ones((), dtype=torch.bool, device=device)  # read once, at the end: each read makes a GPU wait
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # for dropout
        for inputs, labels_B in batches:
            loss = loss_of(network(*inputs), labels_B)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            scheduler.step()
            finite = finite & loss.detach().isfinite()
    network.eval()
    return bool(finite) and all(bool(parameter.isfinite().all()) for parameter in trained)


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


def train_batches(
    splits: Splits, batch_size: int, num_steps: int, seed: int, dtype: torch.dtype, keep: Keep | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images and labels of each step; the first steps do not depend on ``num_steps``.

    ``keep``, where images are decoded for each batch: keeps those of a step, or returns those that it has kept.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = splits.train.labels_B
    each_epoch = steps_per_epoch(len(labels), batch_size)
    for first in range(0, num_steps, each_epoch):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        starts = range(0, min(each_epoch, num_steps - first) * batch_size, batch_size)
        batches = [order[start : start + batch_size] for start in starts]
        for index, batch_BCHW in zip(batches, _images(splits.train, batches, seed, first, keep), strict=True):
            labels_B = labels[index]
            if splits.augment is not None:
                batch_BCHW, labels_B = splits.augment(batch_BCHW, labels_B, generator)
            input_BCHW = normalise(batch_BCHW, splits, dtype)
            yield input_BCHW.contiguous(memory_format=torch.channels_last), labels_B


def _images(train: Split, batches: Sequence[Tensor], seed: int, first_step: int, keep: Keep | None) -> Iterator[Tensor]:
    """The images of each of ``batches``, on the device of their labels."""
    stream, device = train.stream, train.labels_B.device
    if stream is None:
        yield from (train.at(index).to(device) for index in batches)
    elif keep is None:
        yield from (images.to(device) for images in stream.training(batches, seed, first_step))
    else:
        for step, index in enumerate(batches, start=first_step):
            yield keep(step, partial(_decoded, stream, index, seed, step, device))


def _decoded(stream: Stream, index: Tensor, seed: int, step: int, device: torch.device) -> Tensor:
    return stream.batch(index, seed, step).to(device)
