"""The tables as Arrow schemas, their version, and the columns that say what a trial cost."""

from __future__ import annotations

import pyarrow as pa

from raprune.results.columns import TABLES

SCHEMA_VERSION = 12
"""Increased with every change of a column; older results still load."""

SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema(
        [pa.field(column, kind, metadata={"meaning": meaning}) for column, (kind, meaning) in columns.items()],
        metadata={"raprune_schema_version": str(SCHEMA_VERSION)},
    )
    for name, columns in TABLES.items()
}

PARTS = ("finetune_s", "guard_s")
"""Parts of ``wall_time_s``."""

COST_COLUMNS: dict[str, tuple[str, ...]] = {
    "trial": (
        "num_scored", "images_scored", "baseline_latency_s", "latency_s", "wall_time_s", *PARTS, "evaluators", "device",
    ),
    "layers": ("wall_time_s", *PARTS),
    "updates": (),
    "candidates": ("from_memo", "images_scored", "evaluator", "score_s", "scored_at"),
    "joint": ("wall_time_s", *PARTS),
    "low_rank": ("wall_time_s", *PARTS),
    "pictures": (),
    "speed": (
        "device", "threads", "num_runs", "mean_s", "median_s", "lower_quartile_s", "upper_quartile_s",
        "peak_memory_bytes", "backend_version", "host",
    ),
}  # fmt: skip
"""Columns that say what a trial cost; every other column is a pure function of the trial."""
