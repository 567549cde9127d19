"""What is known of a folder's image files: their digests and sizes, kept between runs where the files are large.

Kept entries are trusted for files whose path, size and time of change are the same: these are not read again. Whoever
decodes a file compares it with its digest (:meth:`raprune.plugins.datasets.sources.Source.read`), so a change that none
of the three shows is noticed there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raprune.errors import InputError, meaning
from raprune.plugins.datasets.pixels import for_each, upright_size
from raprune.plugins.datasets.reading import LONG_BYTES, reading
from raprune.plugins.datasets.sources import DIGEST_BYTES, digest_of
from raprune.system.paths import legible
from raprune.system.writing import replacing

KEPT_FROM_BYTES = 2**30
"""Files of fewer bytes in all are read each time."""
SCHEMA = pa.schema(
    [
        ("name", pa.binary()), ("bytes", pa.int64()), ("changed_ns", pa.int64()), ("digest", pa.binary(DIGEST_BYTES)),
        ("width", pa.int32()), ("height", pa.int32()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Index:
    """Files in the order of their names."""

    digests: np.ndarray
    """(N, 16) uint8."""
    sizes: np.ndarray
    """(N, 2) int32: width and height as decoded; zeros where the start of the file is not that of an image."""


def index_of(root: Path, names: Sequence[str]) -> Index:
    """Digests and sizes of the files ``names`` in ``root``.

    If they are kept, each file is read to its end once, so that one that cannot be decoded is refused before a study
    starts. Raises :class:`InputError` that names the file.
    """
    stats = _stats(root, names)
    folder = reading().folder() if reading().cache is not None and stats[:, 0].sum() >= KEPT_FROM_BYTES else None
    file = None if folder is None else folder / f"index-{_key(root)}.parquet"
    digests, sizes, known = _kept(file, names, stats)
    missing = np.flatnonzero(~known)
    if (num_bytes := int(stats[missing, 0].sum())) >= LONG_BYTES:
        reading().tell(f"reading {len(missing):,} images of {root} ({num_bytes / 2**30:.1f} GiB), once")

    def fill(number: int) -> None:
        at = int(missing[number])
        path = root / names[at]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{legible(path)} cannot be read: {meaning(error)}") from None
        digests[at] = np.frombuffer(digest_of(data), np.uint8)
        try:
            sizes[at] = upright_size(data, legible(path), to_the_end=file is not None)
        except InputError:
            if file is not None:
                raise
        known[at] = True

    try:
        for_each(len(missing), fill)
    finally:
        if file is not None and known[missing].any():
            _keep(file, [names[i] for i in np.flatnonzero(known).tolist()], stats[known], digests[known], sizes[known])
    return Index(digests, sizes)


def _stats(root: Path, names: Sequence[str]) -> np.ndarray:
    """(N, 2) int64: bytes, and time of the last change in nanoseconds."""
    stats = np.empty((len(names), 2), np.int64)
    for at, name in enumerate(names):
        try:
            stat = os.stat(os.path.join(root, name))
        except OSError as error:
            raise InputError(f"{legible(root / name)} cannot be read: {meaning(error)}") from None
        stats[at] = stat.st_size, stat.st_mtime_ns
    return stats


def _key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]


def _kept(file: Path | None, names: Sequence[str], stats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digests, sizes, and which of them are known from ``file``; a damaged file knows nothing."""
    digests, sizes = np.zeros((len(names), DIGEST_BYTES), np.uint8), np.zeros((len(names), 2), np.int32)
    known = np.zeros(len(names), bool)
    if file is None or not file.is_file():
        return digests, sizes, known
    try:
        table = pq.read_table(file).cast(SCHEMA)
        if table.num_rows == 0 or any(column.null_count for column in table.columns):
            return digests, sizes, known
    except (pa.ArrowException, OSError, ValueError):
        return digests, sizes, known
    rows = {name: row for row, name in enumerate(table.column("name").to_pylist())}
    found = np.array([rows.get(os.fsencode(name), -1) for name in names], np.int64)
    then = np.stack([table.column(name).to_numpy() for name in ("bytes", "changed_ns")], axis=1)
    known = (found >= 0) & (then[found] == stats).all(1)
    packed = table.column("digest").combine_chunks()
    data = np.frombuffer(packed.buffers()[1], np.uint8)[packed.offset * DIGEST_BYTES :]
    digests[known] = data.reshape(-1, DIGEST_BYTES)[found[known]]
    sizes[known] = np.stack([table.column(name).to_numpy() for name in ("width", "height")], axis=1)[found[known]]
    return digests, sizes, known


def _keep(file: Path, names: Sequence[str], stats: np.ndarray, digests: np.ndarray, sizes: np.ndarray) -> None:
    blob = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(DIGEST_BYTES), len(names), [None, pa.py_buffer(np.ascontiguousarray(digests))]
    )
    columns = [pa.array(map(os.fsencode, names), pa.binary()), *stats.T, blob, *sizes.T]
    table = pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)
    try:
        with replacing(file) as aside:
            pq.write_table(table, aside)
    except OSError as error:
        raise InputError(f"data.cache: {file} cannot be written: {meaning(error)}") from None
