"""Images that stay encoded where they lie: they are decoded when a batch needs them, by other processes while training.

What a batch holds depends on its images' places, the seed and the step alone, never on how many processes decode.

Shapes: B images per batch, C channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raprune.errors import InputError, RapruneError, first_line
from raprune.plugins.datasets.fits import DRAWS, Fit, RandomCrop
from raprune.plugins.datasets.pixels import decode_rgb, for_each
from raprune.plugins.datasets.sources import DIGEST_BYTES, Source
from raprune.study.seeds import seed_for

SAMPLE = 32
"""Images whose pixels are part of a stream's digest, so that another decoder is noticed."""
AHEAD = 2
"""Batches that each process decodes ahead."""
Each = Callable[[int, Callable[[int], None]], None]
"""Calls a function with the numbers from 0 to the first argument, one after another or at once."""
CAN_FORK = sys.platform == "linux"
"""Elsewhere a new process would import the caller's program again."""


@dataclass(frozen=True)
class Stream:
    """Images of one size in a fixed order, each decoded anew whenever it is read."""

    source: Source
    places: np.ndarray
    """(B,) int64: where in ``source`` each image lies."""
    fit: Fit
    """How an image gets its size where it is scored, and where it is trained on without ``crop``."""
    crop: RandomCrop | None = None
    """What of an image is trained on, instead of ``fit``."""
    workers: int = 0
    """Processes that decode while training; with 0, threads of this process do when a batch is needed."""
    channels: int = 3
    """3, or 1 for images that become grey."""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape_CHW(self) -> tuple[int, int, int]:
        return self.channels, self.fit.height, self.fit.width

    @property
    def image_bytes(self) -> int:
        """Bytes of a decoded image."""
        return math.prod(self.shape_CHW)

    @property
    def num_bytes(self) -> int:
        """Bytes of all images, decoded."""
        return len(self) * self.image_bytes

    def take(self, index: Tensor) -> Stream:
        """The images at ``index``."""
        return replace(self, places=self.places[index.cpu().numpy()])

    def read(self, index: Tensor) -> Tensor:
        """(B, C, H, W) uint8: the images at ``index`` as they are scored, decoded by threads.

        Raises :class:`InputError` that names an image that cannot be decoded or has changed.
        """
        return self._decode(index, None, for_each)

    def whole(self) -> Tensor:
        """All images, as :meth:`read` returns them."""
        return self.read(torch.arange(len(self)))

    def batch(self, index: Tensor, seed: int, step: int, each: Each = for_each) -> Tensor:
        """(B, C, H, W) uint8: one batch of :meth:`training`."""
        if self.crop is None:
            return self._decode(index, None, each)
        generator = torch.Generator().manual_seed(seed_for(seed, "crop", step))
        draws = torch.rand((len(index), *DRAWS), generator=generator, dtype=torch.float64)
        return self._decode(index, draws, each)

    def training(self, batches: Sequence[Tensor], seed: int, first_step: int) -> Iterator[Tensor]:
        """(B, C, H, W) uint8 for each index in ``batches``, as they are trained on; the first is of ``first_step``.

        The random parts follow from ``seed``, the step and the place in the batch. Raises :class:`InputError` like
        :meth:`read`.
        """
        steps = range(first_step, first_step + len(batches))
        jobs = _Jobs(self, [(index.cpu(), seed, step) for index, step in zip(batches, steps, strict=True)])
        if self.workers == 0 or not CAN_FORK:
            yield from (self.batch(*batch) for batch in jobs.batches)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch would have no more processes than processors
            loader = DataLoader(
                jobs, batch_size=None, shuffle=False, num_workers=min(self.workers, len(jobs)), prefetch_factor=AHEAD,
                multiprocessing_context="fork", generator=torch.Generator(),  # not the global one, which dropout reads
            )  # fmt: skip
            found = iter(loader)
        while True:
            try:
                batch = next(found)
            except StopIteration:
                return
            except RuntimeError as error:  # of a process that the system ended
                raise RapruneError(
                    f"a process that decodes training images ended: {first_line(error)}. If memory or /dev/shm is "
                    "scarce, set data.workers to fewer, or to 0"
                ) from None
            if isinstance(batch, str):
                raise InputError(batch)
            yield batch

    def digest(self) -> str:
        """Digest of the encoded images in their order, of how they get their size, and of some of their pixels."""
        blake = hashlib.blake2b(
            repr((len(self), self.fit, self.crop, self.channels)).encode(), digest_size=DIGEST_BYTES
        )
        blake.update(np.ascontiguousarray(self.source.digests[self.places]).data)
        few = torch.arange(min(SAMPLE, len(self))) * len(self) // min(SAMPLE, len(self))
        blake.update(self.read(few).numpy().data)
        return blake.hexdigest()

    def key(self) -> str:
        """Names what :meth:`whole` returns: encoded images in their order, their size, the decoder's versions."""
        decoder = (PIL.__version__, features.version("jpg"), features.version("zlib"))
        blake = hashlib.blake2b(repr((len(self), self.fit, self.channels, decoder)).encode(), digest_size=DIGEST_BYTES)
        blake.update(np.ascontiguousarray(self.source.digests[self.places]).data)
        return blake.hexdigest()

    def _decode(self, index: Tensor, draws: Tensor | None, each: Each) -> Tensor:
        pixels = np.empty((len(index), *self.shape_CHW), np.uint8)
        places = self.places[index.cpu().numpy()].tolist()
        crop, numbers = self.crop, None if draws is None else draws.tolist()

        def fill(at: int) -> None:
            name = self.source.name(places[at])
            image = decode_rgb(self.source.read(places[at]), name)
            image = self.fit(image, name) if crop is None or numbers is None else crop(image, numbers[at])
            pixels[at] = np.asarray(image).transpose(2, 0, 1) if self.channels == 3 else np.asarray(image.convert("L"))

        each(len(places), fill)
        return torch.from_numpy(pixels)


class _Jobs(Dataset[Any]):
    """The batches of a fine-tune; one process decodes a batch."""

    def __init__(self, stream: Stream, batches: list[tuple[Tensor, int, int]]) -> None:
        self.stream, self.batches = stream, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Tensor | str:
        """A batch, or what is wrong with it."""
        try:
            return self.stream.batch(*self.batches[number], _one_by_one)
        except InputError as error:
            return str(error)


def _one_by_one(number: int, fill: Callable[[int], None]) -> None:
    for at in range(number):
        fill(at)
