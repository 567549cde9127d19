"""How images are held on this machine: in memory, in files that processes share, or decoded again for each batch.

A data set hands its encoded images to :func:`held`. What fits into memory is decoded at once. Of a larger data set,
what is scored (val, guard and test) is decoded once into a file of pixels, which all processes of a machine map, and
training images stay encoded. No number depends on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raprune.errors import InputError, meaning
from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.datasets.sources import Source
from raprune.plugins.datasets.stream import Stream
from raprune.study.parts import DataSpec
from raprune.system.memory import memory_bytes
from raprune.system.paths import folder_for
from raprune.system.writing import aside_of

SCORED = ("val", "guard", "test")
"""The splits of which the same pixels are read again and again."""
CHUNK_BYTES = 64 * 2**20
"""Pixels that are decoded or compared at a time."""
LONG_BYTES = 2**30
"""Work on fewer bytes is not worth telling."""
SHARE = 0.5
"""Of this machine's memory, what images may take where the study does not say."""


@dataclass(frozen=True)
class Reading:
    """What this process may use for images."""

    memory_bytes: int | None = None
    """Most bytes of decoded images; ``None`` for no limit."""
    workers: int = 0
    """Processes that decode while training."""
    cache: str | None = None
    """Folder for what is kept between runs; ``None`` keeps nothing."""
    tell: Callable[[str], None] = lambda text: None
    """Is told of work that takes long the first time."""

    @classmethod
    def of(cls, spec: DataSpec) -> Reading:
        """As a study says, on this machine; a pool of evaluators sets ``workers`` itself."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = cpus if spec.workers == "auto" else spec.workers
        most = int(SHARE * memory_bytes()) if spec.memory_gib == "auto" else int(spec.memory_gib * 2**30)
        return cls(most, workers, spec.cache)

    def folder(self) -> Path:
        """The cache's folder. Raises :class:`InputError` if there is none, or if it cannot be used."""
        if self.cache is None:
            raise InputError("data.cache: these images need a folder for files of their pixels")
        return folder_for(os.path.expandvars(self.cache), "data.cache")


_READING: ContextVar[Reading | None] = ContextVar("reading", default=None)


def reading() -> Reading:
    """How the data set that is being opened may hold its images."""
    return _READING.get() or Reading()


@contextlib.contextmanager
def reading_as(how: Reading) -> Iterator[None]:
    """Open data sets ``how`` a study says, inside the block; outside all images are held in memory."""
    token = _READING.set(how)
    try:
        yield
    finally:
        _READING.reset(token)


def held(splits: Splits) -> Splits:
    """``splits`` in memory, where that is large enough; streams stay as they are otherwise.

    Training images of which random parts are trained on are a stream in any case.
    """
    most, streams = reading().memory_bytes, {n: s.stream for n, s in parts_of(splits).items() if s.stream is not None}
    if most is not None and sum(stream.num_bytes for stream in streams.values()) > most:
        return splits
    whole = {name: stream.whole() for name, stream in streams.items() if stream.crop is None}
    return _with_parts(splits, {name: Split(images, getattr(splits, name).labels_B) for name, images in whole.items()})


def room_for(number: int, channels: int, height: int, width: int) -> Tensor:
    """(B, C, H, W) uint8: memory for images that this data set can only hold all at once.

    Raises :class:`InputError` where they are more than this process may use, which the system would end.
    """
    num_bytes, most = number * channels * height * width, memory_bytes()
    if num_bytes > most:
        raise InputError(
            f"{number:,} images of {width}x{height} pixels take {num_bytes / 2**30:,.1f} GiB of memory, and there are "
            f"{most / 2**30:,.1f} GiB: take fewer (num_train), or a smaller size; sets larger than memory are read by "
            "image_folder, image_parquet and hugging_face"
        )
    return torch.empty((number, channels, height, width), dtype=torch.uint8)


def on_this_host(splits: Splits, how: Reading) -> Splits:
    """``splits`` whose streams this process can read: files of pixels for what is scored, sources that are here."""
    found = {}
    for name, split in parts_of(splits).items():
        if split.stream is None:
            continue
        here = replace(split.stream, source=split.stream.source.on_this_host(how.folder), workers=how.workers)
        if name in SCORED:
            found[name] = Split(mapped(here, how.folder(), how.tell), split.labels_B)
        else:
            found[name] = replace(split, stream=here)
    return _with_parts(splits, found)


def parts_of(splits: Splits) -> dict[str, Split]:
    """The splits that there are, by name."""
    every = {name: getattr(splits, name) for name in ("train", *SCORED)}
    return {name: split for name, split in every.items() if split is not None}


def sources_of(splits: Splits) -> list[Source]:
    """Where images lie that are still encoded, each source once."""
    streams = [split.stream for split in parts_of(splits).values() if split.stream is not None]
    return list({id(stream.source): stream.source for stream in streams}.values())


def _with_parts(splits: Splits, parts: Mapping[str, Split]) -> Splits:
    train, val, guard, test = (parts.get(name, getattr(splits, name)) for name in ("train", "val", "guard", "test"))
    return replace(splits, train=train, val=val, guard=guard, test=test)


def mapped(stream: Stream, folder: Path, tell: Callable[[str], None] = lambda text: None) -> Tensor:
    """(B, C, H, W) uint8: all images of ``stream`` from a file in ``folder``, read-only; decoded if it is not there.

    The file's name has the digest of its pixels: one that was damaged is decoded again.
    """
    key = stream.key()
    with locked(folder / f"{key}.lock"):
        for file in folder.glob(f"{key}-*.pixels"):
            found = _map(file, stream)
            if found is not None:
                return found
            file.unlink(missing_ok=True)
        if stream.num_bytes >= LONG_BYTES:
            tell(
                f"decoding {len(stream):,} images to be scored into {folder} ({stream.num_bytes / 2**30:.1f} GiB), once"
            )
        return _decoded(stream, folder, key)


def _map(file: Path, stream: Stream) -> Tensor | None:
    """The images in ``file``; ``None`` if it is not what its name says."""
    if file.stat().st_size != stream.num_bytes:
        return None
    pixels = np.memmap(file, np.uint8, "r", shape=(len(stream), *stream.shape_CHW))
    digest, step = hashlib.sha256(), _at_once(stream)
    for start in range(0, len(stream), step):
        digest.update(pixels[start : start + step].data)
    if digest.hexdigest() != file.stem.rpartition("-")[2]:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of read-only memory; nobody writes to it
        return torch.from_numpy(pixels)


def _decoded(stream: Stream, folder: Path, key: str) -> Tensor:
    digest, step = hashlib.sha256(), _at_once(stream)
    aside = folder / aside_of(key)
    try:
        with aside.open("wb") as out:
            for start in range(0, len(stream), step):
                pixels = stream.read(torch.arange(start, min(start + step, len(stream)))).numpy()
                digest.update(pixels.data)
                out.write(pixels.data)
        file = folder / f"{key}-{digest.hexdigest()}.pixels"
        os.replace(aside, file)
    except OSError as error:
        gib = stream.num_bytes / 2**30
        raise InputError(f"data.cache: {folder} cannot hold {gib:.2g} GiB of pixels: {meaning(error)}") from None
    finally:
        aside.unlink(missing_ok=True)
    found = _map(file, stream)
    if found is None:
        raise InputError(f"data.cache: {file} is not what was just written: check the file system of {folder}")
    return found


def _at_once(stream: Stream) -> int:
    """Images that are decoded or compared at a time."""
    return max(1, CHUNK_BYTES * len(stream) // max(1, stream.num_bytes))


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Only one process of this machine is inside the block at a time; a lock ends with the process that holds it."""
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
