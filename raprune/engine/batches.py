"""The batches of a training: shuffled and augmented, each step the same whoever asks for it, and from where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.datasets.stream import Stream
from raprune.plugins.datasets.transfer import to_device

Keep = Callable[[int, Callable[[], Tensor]], Tensor]
"""The images of a step that were kept; otherwise those that the function decodes."""


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Batches per epoch; a last batch of a single image is left out, because batch norm cannot train on it."""
    full, rest = divmod(num_images, batch_size)
    return full + (1 if rest > 1 else 0)


class TrainBatches:
    """Normalised images and labels of each step; the first steps do not depend on ``num_steps``.

    A training that was cut short goes on behind the batches that it has seen, without making them again: see
    :meth:`place`.
    """

    def __init__(
        self,
        splits: Splits,
        batch_size: int,
        num_steps: int,
        seed: int,
        dtype: torch.dtype,
        keep: Keep | None = None,
    ) -> None:
        """``keep``, where images are decoded for each batch: keeps those of a step, or returns those it has kept."""
        self.splits = splits
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.dtype = dtype
        self.keep = keep
        self._num_given = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._epoch = self._generator.get_state()
        """The generator's state before the present epoch was shuffled."""

    def place(self) -> dict[str, Tensor]:
        """Where the iteration is: what :meth:`go_to` needs beside the number of batches given so far."""
        return {"epoch": self._epoch, "now": self._generator.get_state()}

    def go_to(self, num_given: int, place: Mapping[str, Tensor]) -> None:
        """Go on behind the first ``num_given`` batches. Raises RuntimeError for what is no generator's state."""
        for name in ("epoch", "now"):
            torch.Generator().set_state(place[name])
        self._num_given, self._epoch = num_given, place["epoch"]
        self._generator.set_state(place["now"])

    def __iter__(self) -> Iterator[tuple[tuple[Tensor], Tensor]]:
        """The network's input, and the labels, of each step that is left."""
        labels, augment = self.splits.train.labels_B, self.splits.augment
        while self._num_given < self.num_steps:
            batches = self._rest_of_epoch()
            images = _images(self.splits.train, batches, self.seed, self._num_given, self.keep)
            for index, batch_BCHW in zip(batches, images, strict=True):
                labels_B = labels[to_device(index, labels.device)]
                if augment is not None:
                    batch_BCHW, labels_B = augment(batch_BCHW, labels_B, self._generator)
                input_BCHW = normalise(batch_BCHW, self.splits, self.dtype)
                self._num_given += 1
                yield (input_BCHW.contiguous(memory_format=torch.channels_last),), labels_B

    def _rest_of_epoch(self) -> list[Tensor]:
        """The images of each batch of the present epoch that was not given yet; shuffles those of a new one."""
        labels = self.splits.train.labels_B
        each_epoch = steps_per_epoch(len(labels), self.batch_size)
        done = self._num_given % each_epoch
        now = self._generator.get_state()
        if done:
            self._generator.set_state(self._epoch)
        self._epoch = self._generator.get_state()
        order = torch.randperm(len(labels), generator=self._generator)
        if done:
            self._generator.set_state(now)
        number = min(each_epoch, self.num_steps - self._num_given + done)
        return [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(done, number)]


def train_batches(
    splits: Splits, batch_size: int, num_steps: int, seed: int, dtype: torch.dtype, keep: Keep | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images and labels of each step, as :class:`TrainBatches`."""
    return ((images, labels) for (images,), labels in TrainBatches(splits, batch_size, num_steps, seed, dtype, keep))


def _images(train: Split, batches: Sequence[Tensor], seed: int, first_step: int, keep: Keep | None) -> Iterator[Tensor]:
    """The images of each of ``batches``, on the device of their labels."""
    stream, device = train.stream, train.labels_B.device
    if stream is None:
        yield from (to_device(train.at(index), device) for index in batches)
    elif keep is None:
        yield from (to_device(images, device) for images in stream.training(batches, seed, first_step))
    else:
        for step, index in enumerate(batches, start=first_step):
            yield keep(step, partial(_decoded, stream, index, seed, step, device))


def _decoded(stream: Stream, index: Tensor, seed: int, step: int, device: torch.device) -> Tensor:
    return to_device(stream.batch(index, seed, step), device)
