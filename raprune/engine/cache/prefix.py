"""Keeps what the layers below the decided one compute, batch by batch, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from raprune.engine.split import Crossing, nbytes


class Store(Protocol):
    """Keeps crossing values; those that it does not keep are computed every time."""

    capacity: int
    """Most bytes that are kept."""

    def batch(self, key: str, index: int, compute: Callable[[], Crossing]) -> Crossing:
        """Batch ``index`` of what ``key`` names, kept or computed; equal calls give bitwise equal values."""


class LocalStore:
    """A store in the memory of this process (or of its GPU); the least recently used key is dropped first.

    Of a key that does not fit as a whole, the first batches are kept: they are used most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[str, dict[int, Crossing]] = OrderedDict()
        self._bytes: dict[str, int] = {}

    @property
    def num_bytes(self) -> int:
        """Bytes kept."""
        return sum(self._bytes.values())

    def batch(self, key: str, index: int, compute: Callable[[], Crossing]) -> Crossing:
        batches = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        if index in batches:
            return batches[index]
        values = compute()
        size = nbytes(values)
        while self.num_bytes + size > self.capacity and (oldest := next(iter(self._kept))) != key:
            del self._kept[oldest]
            self._bytes.pop(oldest, None)
        if self.num_bytes + size <= self.capacity:
            batches[index] = values
            self._bytes[key] = self._bytes.get(key, 0) + size
        return values
