"""Where encoded images lie, such as files in a folder; each is known by its content."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from raprune.errors import InputError, meaning
from raprune.plugins.datasets.pixels import content
from raprune.system.paths import legible

DIGEST_BYTES = 16


def digest_of(data: bytes) -> bytes:
    """Digest of an encoded image."""
    return content(data)[:DIGEST_BYTES]


class Source(ABC):
    """Encoded images by place, from 0; several threads and processes may read it."""

    digests: np.ndarray
    """(N, 16) uint8: the digest of each image, as it was when the source was listed."""

    @property
    def in_memory_bytes(self) -> int:
        """Bytes of encoded images that are held in memory."""
        return 0

    @property
    def copied_bytes(self) -> int:
        """Bytes of encoded images that were copied into a file of the cache."""
        return 0

    @abstractmethod
    def name(self, place: int) -> str:
        """What messages call an image."""

    @abstractmethod
    def fetch(self, place: int) -> bytes:
        """The encoded image, as it is now. Raises :class:`InputError` or OSError if it cannot be read."""

    def read(self, place: int) -> bytes:
        """The encoded image. Raises :class:`InputError` if it cannot be read or is no longer what was listed."""
        try:
            data = self.fetch(place)
        except OSError as error:
            raise InputError(f"{self.name(place)} cannot be read: {meaning(error)}") from None
        if digest_of(data) != self.digests[place].tobytes():
            raise InputError(self.changed(place))
        return data

    def changed(self, place: int) -> str:
        """The message that an image is no longer what was listed, with the way on."""
        way_on = "restore it, or run the command again in another folder (--out)"
        return f"{self.name(place)} has other content than when the data set was listed: {way_on}"

    def on_this_host(self, folder: Callable[[], Path]) -> Self:
        """The same images, where this machine can read them; ``folder`` gives one for files that last."""
        del folder
        return self


@dataclass(frozen=True)
class Files(Source):
    """Files in a folder."""

    root: str
    names: Sequence[str]
    """Paths relative to ``root``."""
    digests: np.ndarray

    def name(self, place: int) -> str:
        return legible(os.path.join(self.root, self.names[place]))

    def fetch(self, place: int) -> bytes:
        return Path(self.root, self.names[place]).read_bytes()


def same_content(digests: np.ndarray) -> np.ndarray:
    """(N,) int64: numbers that are equal where ``digests`` (N, 16) are."""
    halves = np.ascontiguousarray(digests).view(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    numbers = np.empty(len(digests), np.int64)
    numbers[order] = np.concatenate([[0], (ordered[1:] != ordered[:-1]).any(1).cumsum()]) if len(order) else 0
    return numbers


def once_and_more(digests: np.ndarray) -> tuple[list[int], list[int]]:
    """Places of the images that occur once, and of those that occur several times, which always go to training."""
    numbers = same_content(digests)
    is_single = np.bincount(numbers)[numbers] == 1 if len(numbers) else np.zeros(0, bool)
    return np.flatnonzero(is_single).tolist(), np.flatnonzero(~is_single).tolist()


def check_streams_apart(sources: Mapping[str, tuple[Source, np.ndarray]]) -> None:
    """Refuse an image that is in two splits; of each, the source and the places in it."""
    splits = list(sources)
    digests = [source.digests[places] for source, places in sources.values()]
    numbers = same_content(np.concatenate(digests))
    of_split = np.repeat(np.arange(len(splits)), [len(part) for part in digests])
    at_image = np.concatenate([np.arange(len(part)) for part in digests])
    least = np.full(numbers.max() + 1, len(splits))
    np.minimum.at(least, numbers, of_split)
    twice = np.flatnonzero(of_split > least[numbers])
    if len(twice) == 0:
        return
    second = int(twice[0])
    first = int(np.flatnonzero((numbers == numbers[second]) & (of_split == least[numbers[second]]))[0])
    (there, other), (here, split) = ((_named(sources, splits[of_split[i]], int(at_image[i]))) for i in (second, first))
    raise InputError(f"splits overlap: {there} ({other}) is the same image as {here} ({split})")


def _named(sources: Mapping[str, tuple[Source, np.ndarray]], split: str, at: int) -> tuple[str, str]:
    source, places = sources[split]
    return source.name(int(places[at])), split
