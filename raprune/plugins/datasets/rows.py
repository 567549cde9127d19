"""Encoded images in rows of Parquet or Arrow files: in memory, or copied once into a file that can be read anywhere.

A row of a Parquet file cannot be read without its neighbours, and training reads rows in random order. So rows that do
not fit into memory are copied, image after image, into one file of the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raprune.errors import InputError, first_line, meaning
from raprune.plugins.datasets.pixels import for_each, upright_size
from raprune.plugins.datasets.reading import LONG_BYTES, locked, reading
from raprune.plugins.datasets.sources import DIGEST_BYTES, Source, digest_of
from raprune.system.writing import replacing

BATCH_ROWS = 256
"""Rows read at a time while they are copied."""
BINARY = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view,
    pa.types.is_null,
)  # fmt: skip
"""Whether a type holds bytes; that of a column of nulls may."""


@dataclass(frozen=True)
class _InFiles(Source):
    """Rows of several files, numbered one after another."""

    files: Sequence[str]
    starts: np.ndarray
    """(F + 1,): the number of each file's first row, and of all rows."""

    def name(self, place: int) -> str:
        file = int(np.searchsorted(self.starts, place, side="right")) - 1
        return f"row {place - int(self.starts[file])} of {self.files[file]}"


@dataclass(frozen=True)
class InMemory(_InFiles):
    """Rows that were read."""

    images: pa.ChunkedArray

    @cached_property
    def digests(self) -> np.ndarray:  # type: ignore[override]
        found = b"".join(digest_of(image.as_py() or b"") for image in self.images)
        return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)

    @property
    def in_memory_bytes(self) -> int:
        return int(self.images.nbytes)

    def fetch(self, place: int) -> bytes:
        return self.images[place].as_py() or b""


@dataclass(frozen=True)
class Copied(_InFiles):
    """Rows that were copied into a file."""

    column: str
    file: str
    ends: np.ndarray
    """(N,) int64: where each image ends in ``file``."""
    digests: np.ndarray

    @property
    def copied_bytes(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def fetch(self, place: int) -> bytes:
        start = int(self.ends[place - 1]) if place else 0
        try:
            with open(self.file, "rb") as opened:
                opened.seek(start)
                return opened.read(int(self.ends[place]) - start)
        except OSError as error:
            what = f"{self.file}, the copy of {self.name(place)} and the others, cannot be read"
            raise InputError(f"{what}: {meaning(error)}; the same command copies them again") from None

    def changed(self, place: int) -> str:
        return f"{self.file} is damaged: delete it, and the same command copies {self.name(place)} and the others again"

    def on_this_host(self, folder: Callable[[], Path]) -> Copied:
        """Copied again, if this machine does not have the file. Raises :class:`InputError` if the rows have changed."""
        if Path(self.file).is_file():
            return self
        here = _copied(self.files, self.column, folder())
        if not np.array_equal(here.digests, self.digests):
            raise InputError(f"{self.files[0]} has other rows on this machine than where the data set was listed")
        return replace(self, file=here.file)


def rows_of(files: Sequence[str], column: str) -> InMemory | Copied:
    """The field ``bytes`` of ``column`` in all rows of ``files``, which end in .parquet, or are Arrow streams.

    Raises :class:`InputError` that names a row that cannot be decoded, where rows are copied.
    """
    most = reading().memory_bytes
    if most is not None and sum(os.path.getsize(file) for file in files) > most:
        return _copied(files, column, reading().folder())
    chunks = [list(_batches(file, column)) for file in files]
    images = _joined([chunk for of_file in chunks for chunk in of_file])
    return InMemory(files, _starts([sum(map(len, of_file)) for of_file in chunks]), images)


def _batches(file: str, column: str) -> Iterator[pa.Array]:
    """The encoded images of a few rows at a time."""
    with naming_rows(file):
        if file.endswith(".parquet"):
            parts: Any = pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=[f"{column}.bytes"])
        else:
            parts = pa.ipc.open_stream(pa.memory_map(file))
        for part in parts:
            yield pc.struct_field(part.column(column), "bytes")  # null where the struct is


@contextlib.contextmanager
def naming_rows(file: str | Path) -> Iterator[None]:
    """Inside the block, a file that cannot be read raises :class:`InputError` that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise InputError(f"{file} cannot be read: {meaning(error)}") from None
        raise InputError(f"{file} is damaged: {first_line(error).rstrip('.')}; get it again") from None


def is_encoded(kind: pa.DataType) -> bool:
    """Whether a column of this type has encoded images: a struct whose field ``bytes`` is binary."""
    place = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return place >= 0 and any(holds(kind.field(place).type) for holds in BINARY)


def _joined(chunks: Sequence[pa.Array]) -> pa.ChunkedArray:
    """``chunks`` as one; those of several files may be of different binary types."""
    kinds = {chunk.type for chunk in chunks} or {pa.binary()}
    kind = kinds.pop() if len(kinds) == 1 else pa.large_binary()
    return pa.chunked_array([chunk.cast(kind) for chunk in chunks], kind)


def _starts(numbers: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(numbers)]).astype(np.int64)


def _copied(files: Sequence[str], column: str, folder: Path) -> Copied:
    """Copy the rows into a file in ``folder``, or find it there, by the files' names, sizes and times of change."""
    stats = [(os.path.realpath(file), os.path.getsize(file), os.stat(file).st_mtime_ns) for file in files]
    key = hashlib.sha256(repr((stats, column)).encode()).hexdigest()[:32]
    images, listed = folder / f"{key}.images", folder / f"{key}.rows.npz"
    with locked(folder / f"{key}.lock"):
        found = _found(images, listed)
        if found is None:
            if (num_bytes := sum(size for _, size, _ in stats)) >= LONG_BYTES:
                reading().tell(f"copying {num_bytes / 2**30:.1f} GiB of encoded images into {folder}, once")
            _copy(files, column, images, listed)
            found = _found(images, listed)
    if found is None:
        raise InputError(f"data.cache: {images} is not what was just written: check the file system of {folder}")
    numbers, ends, digests = found
    return Copied(files, _starts(numbers.tolist()), column, str(images), ends, digests)


def _found(images: Path, listed: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows of each file, ends and digests; ``None`` where the files are missing or damaged."""
    try:
        with np.load(listed, allow_pickle=False) as arrays:
            numbers, ends, digests = (arrays[name] for name in ("numbers", "ends", "digests"))
        is_whole = images.stat().st_size == (ends[-1] if len(ends) else 0)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = numbers.dtype == ends.dtype == np.int64 and digests.shape == (len(ends), DIGEST_BYTES)
    return (numbers, ends, digests) if is_whole and fits and numbers.sum() == len(ends) else None


def _copy(files: Sequence[str], column: str, images: Path, listed: Path) -> None:
    lengths: list[int] = []
    digests: list[bytes] = []
    numbers: list[int] = []
    try:
        with replacing(images) as aside, aside.open("wb") as out:
            for file in files:
                first = len(lengths)
                for batch in _batches(file, column):
                    encoded = [image or b"" for image in batch.to_pylist()]
                    _check(encoded, file, len(lengths) - first)
                    for data in encoded:
                        out.write(data)
                        lengths.append(len(data))
                        digests.append(digest_of(data))
                numbers.append(len(lengths) - first)
        with replacing(listed) as aside, aside.open("wb") as out:
            np.savez(
                out, numbers=np.array(numbers, np.int64), ends=np.cumsum(np.array(lengths, np.int64)),
                digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES),
            )  # fmt: skip
    except OSError as error:
        raise InputError(f"data.cache: {images.parent} cannot hold a copy of {files[0]}: {meaning(error)}") from None


def _check(encoded: Sequence[bytes], file: str, first: int) -> None:
    """Raise :class:`InputError` for an image that cannot be decoded to its end."""

    def decode(at: int) -> None:
        upright_size(encoded[at], f"row {first + at} of {file}", to_the_end=True)

    for_each(len(encoded), decode)
