"""Crossing values in a file, mapped without a copy; each tensor keeps its strides."""

from __future__ import annotations

import mmap
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from raprune.engine.split import Crossing

ALIGNMENT = 64
LENGTH_BYTES = 8


@dataclass(frozen=True)
class _Laid:
    """The place of a tensor in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    """Offset in bytes from the first tensor."""
    span: int
    """Number of elements from its first to its last, including those in between that are not its own."""


def write_values(out: BinaryIO, values: Crossing, make_room: Callable[[int], None]) -> None:
    """Write ``values`` (on the CPU) after calling ``make_room`` with the file's size in bytes."""
    entries: list[Any] = []
    spans: list[Tensor] = []
    end = 0
    for value in values:
        if not isinstance(value, Tensor):
            entries.append(value)
            continue
        steps = zip(value.shape, value.stride(), strict=True)
        span = 1 + sum((size - 1) * step for size, step in steps) if value.numel() else 0
        entries.append(_Laid(value.dtype, tuple(value.shape), value.stride(), end, span))
        spans.append(value.detach().as_strided((span,), (1,)))
        end += _aligned(span * value.element_size())
    header = pickle.dumps(entries)
    begin = _aligned(LENGTH_BYTES + len(header))
    make_room(begin + end)
    out.write((len(header).to_bytes(LENGTH_BYTES, "little") + header).ljust(begin, b"\0"))
    for elements in spans:
        out.write(elements.view(torch.uint8).numpy().data)
        out.write(bytes(-elements.nbytes % ALIGNMENT))


def map_values(file: Path) -> Crossing:
    """Map the values of a file, without a copy; the system kills a process that writes to them."""
    with file.open("rb") as source:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # else a page fault every few pages
        memory = mmap.mmap(source.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
    length = int.from_bytes(memory[:LENGTH_BYTES], "little")
    entries = pickle.loads(memory[LENGTH_BYTES : LENGTH_BYTES + length])
    begin = _aligned(LENGTH_BYTES + length)
    return tuple(_tensor(memory, begin, entry) if isinstance(entry, _Laid) else entry for entry in entries)


def _tensor(memory: mmap.mmap, begin: int, laid: _Laid) -> Tensor:
    if laid.span == 0:
        return torch.empty_strided(laid.shape, laid.stride, dtype=laid.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of read-only memory; nobody writes to it
        flat = torch.frombuffer(memory, dtype=laid.dtype, count=laid.span, offset=begin + laid.start)
    return flat.as_strided(laid.shape, laid.stride)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
