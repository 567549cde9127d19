"""Tables of scores: how many validation images every keep mask of one layer gets right.

One Parquet file per layer, with a single column ``correct`` (uint16) of 2^N rows: bit j of the row's number says
whether filter j is kept. Row 0 keeps nothing and is 0. So are masks that lose more than ``deepest`` points: no method
whose bound is at most half of that tells them apart. The file's metadata says how it was made.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from raprune.errors import DamagedError, naming
from raprune.system.writing import written

FOLDER = Path(__file__).resolve().parents[1] / "data" / "optimum"
"""The tables of this repository."""
SCHEMA = 1
METADATA = b"raprune_optimum"
MOST_FILTERS = 16


@dataclass(frozen=True)
class Origin:
    """How a table was made."""

    schema: int
    network: str
    seed: int
    """Of the baseline, or of the draw of validation images."""
    layer: str
    recalibration_batches: int | None
    """Training batches over which the norms of every candidate were recalibrated; ``None``: scored as cut."""
    num_images: int
    """Validation images that every mask was scored on."""
    deepest: float
    """Points below the baseline under which counts are 0."""
    weights: list[list[float]]
    """The layer's filters as rows, N x M_l."""
    importance: Mapping[str, list[float]]
    """The importance of each filter to each criterion, computed where the network was at hand."""
    raprune: str
    command: str
    device: str


@dataclass(frozen=True)
class ScoreTable:
    """All masks of one layer."""

    origin: Origin
    correct: np.ndarray
    """(2^N,) uint16."""

    @property
    def name(self) -> str:
        """The name of the table and of its file."""
        origin = self.origin
        suffix = "" if origin.recalibration_batches is None else "-recalibrated"
        return f"{origin.network}-{origin.seed}-{origin.layer}{suffix}"

    @property
    def num_filters(self) -> int:
        return len(self.origin.weights)

    @property
    def baseline_score(self) -> float:
        """Of the mask that keeps all, percent."""
        return self.percent(int(self.correct[-1]))

    def percent(self, correct: int) -> float:
        return 100.0 * correct / self.origin.num_images

    def score(self, mask_N: Tensor) -> float | None:
        """Percent; ``None`` where the mask loses more than the deepest drop of the table."""
        correct = int(self.correct[number_of(mask_N)])
        return self.percent(correct) if correct else None

    def fewest_kept(self, drop_bound: float) -> int:
        """Filters kept by the best mask within ``drop_bound`` points: the true optimum."""
        if not 0 < drop_bound <= self.origin.deepest:
            raise ValueError(f"{self.name} knows drops up to {self.origin.deepest:g} points; asked for {drop_bound:g}")
        drops = 100.0 * (int(self.correct[-1]) - self.correct.astype(np.int64)) / self.origin.num_images
        return int(num_kept(self.num_filters)[(drops <= drop_bound + 1e-9) & (self.correct > 0)].min())


def number_of(mask_N: Tensor) -> int:
    """The row of a mask: (N,) bool to a number of N bits."""
    return int((mask_N.long() << torch.arange(len(mask_N))).sum())


def masks_of(rows_K: Tensor, num_filters: int) -> Tensor:
    """(K,) rows to (K, N) bool masks."""
    return (rows_K[:, None] >> torch.arange(num_filters)) & 1 == 1


def num_kept(num_filters: int) -> np.ndarray:
    """(2^N,): filters kept by every mask."""
    rows = np.arange(2**num_filters)
    return sum((rows >> bit) & 1 for bit in range(num_filters)) + np.zeros_like(rows)


def write_table(folder: Path, table: ScoreTable) -> Path:
    """Write a table under its own name; returns the file."""
    file = folder / f"{table.name}.parquet"
    weights = np.array(table.origin.weights, dtype="<f4")
    entries = asdict(table.origin) | {"weights": [len(weights), base64.b64encode(weights.tobytes()).decode()]}
    found = pa.table({"correct": pa.array(table.correct, pa.uint16())}).replace_schema_metadata(
        {METADATA: json.dumps(entries)}
    )
    folder.mkdir(parents=True, exist_ok=True)
    with written(file) as aside, aside.open("wb") as out:
        pq.write_table(found, out, compression="zstd", compression_level=19, write_page_checksum=True)
    return file


def read_table(file: Path) -> ScoreTable:
    """Read a table; raises :class:`DamagedError` with one sentence for a file that is none, or is damaged."""
    way_on = "take it from the repository again, or make it: python -m benchmarks.optimum score"
    with naming(file, way_on):
        try:
            with file.open("rb") as opened:
                found = pq.ParquetFile(opened, page_checksum_verification=True).read()
            table = ScoreTable(_origin(found), found["correct"].to_numpy())
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            why = str(error).splitlines()[0]
            raise DamagedError(f"{file} is not a table of all masks of a layer: {why}; {way_on}") from None
    if (wrong := _what_is_wrong(table, found)) is not None:
        raise DamagedError(f"{file} is damaged: {wrong}; {way_on}")
    return table


def read_tables(folder: Path = FOLDER) -> list[ScoreTable]:
    """All tables of a folder, by name."""
    return [read_table(file) for file in sorted(folder.glob("*.parquet"))]


def _origin(found: pa.Table) -> Origin:
    entries: dict[str, Any] = json.loads((found.schema.metadata or {})[METADATA])
    if entries["schema"] != SCHEMA:
        raise ValueError(f"it has schema {entries['schema']}, and this code reads {SCHEMA}")
    rows, packed = entries["weights"]
    weights = np.frombuffer(base64.b64decode(packed, validate=True), "<f4").reshape(rows, -1).tolist()
    return Origin(**{field.name: entries[field.name] for field in fields(Origin)} | {"weights": weights})


def _what_is_wrong(table: ScoreTable, found: pa.Table) -> str | None:
    origin, number = table.origin, table.num_filters
    if not 1 <= number <= MOST_FILTERS or len({len(row) for row in origin.weights}) != 1:
        return f"its weights are not those of 1 to {MOST_FILTERS} filters"
    if found.schema.field("correct").type != pa.uint16() or len(table.correct) != 2**number:
        return f"{number} filters need 2^{number} rows of uint16"
    if table.correct.max() > origin.num_images or table.correct[0] or not table.correct[-1]:
        return f"its counts are not those of {origin.num_images} images"
    if any(len(values) != number for values in origin.importance.values()):
        return f"a criterion does not rate {number} filters"
    return None
