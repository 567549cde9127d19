"""What the tables of a trial must contain; a file that contains anything else is refused as damaged.

Only what every version of the schema wrote is required.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

STATUSES = ("completed", "failed", "stopped")
STOPPED_BY = (None, "budget", "dominated")
ONE_ROW = ("trial", "layers", "joint", "low_rank")
NEEDED: dict[str, tuple[str, ...]] = {
    "trial": ("status", "seed", "model", "dataset", "method", "order", "reward"),
    "layers": ("layer", "layer_index", "prune_step", "num_filters", "num_kept", "pruning_ratio", "keep_mask"),
    "updates": ("layer", "update"),
    "candidates": ("layer", "sample", "keep_mask"),
    "joint": ("joint_step", "num_filters", "num_kept_before", "num_kept", "keep_mask", "finetuned_val_score"),
    "low_rank": ("layer", "layer_index", "step"),
    "pictures": ("kind", "place", "image", "label", "baseline", "pruned"),
    "speed": ("device", "backend", "batch_size", "network"),
}
"""Columns that are never null."""
MEASURED = (
    "val_score", "val_score_drop", "baseline_val_score", "num_val_images",
    "num_layers", "num_layers_whole", "num_filters", "num_kept", "pruning_ratio", "baseline_params", "params",
    "baseline_macs", "macs", "baseline_model_bytes", "model_bytes", "num_candidates", "num_scored",
)  # fmt: skip
"""Columns that a trial with scores has."""
POSITIVE = ("num_filters", "baseline_params", "params", "baseline_macs", "macs", "full_rank", "params_before")
NOT_NEGATIVE = (
    "num_kept", "num_layers", "num_layers_whole", "num_candidates", "num_scored", "images_scored",
    "layer_index", "num_guard_images", "num_guard_looks", "num_guard_refused",
)  # fmt: skip
SHARES = ("pruning_ratio", "guard", "warranty")
EACH_FILTER = ("filter_norms", "filter_places", "keep_probs")
"""Columns of ``layers`` with a value for each filter."""
NUMBERS = (*EACH_FILTER, "filter_shape", "filter_weights")
"""Columns of ``layers`` with lists of numbers, none of them missing."""
JSON_MAPPINGS = "_settings"
"""Ending of the names of columns that contain a JSON mapping."""


def what_is_wrong(found: pa.Table, table: str, trial_id: str, present: Collection[str]) -> str | None:
    """Why ``found`` is not the ``table`` of this trial; ``None`` where it is. Its file has the columns ``present``."""
    if table in ONE_ROW and len(found) != 1:
        return f"it must have one row; it has {len(found):,}"
    for column in ("study", "trial_id", *NEEDED[table]):
        if column in found.column_names and found[column].null_count:
            return f"column {column} lacks values"
    others = [other for other in found["trial_id"].unique().to_pylist() if other != trial_id]
    if others:
        return f"its rows belong to trial {sorted(others)[0][:100]!r}"
    if "keep_mask" in found.column_names and any(chunk.flatten().null_count for chunk in found["keep_mask"].chunks):
        return "keep_mask has gaps"
    if table not in ONE_ROW:  # the others are long, and no value of theirs is relied on
        return None
    row = found.to_pylist()[0]
    more = _wrong_trial(row, present) if table == "trial" else ()
    return next(itertools.chain(_wrong_values(row, table), more), None)


def _wrong_values(row: Mapping[str, Any], table: str) -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value}"
        elif isinstance(value, int | float) and (allowed := _out_of_range(name, value)):
            yield f"{name} is {value:g}, but must be {allowed}"
        elif name.endswith(JSON_MAPPINGS) and value is not None and not _is_mapping(value):
            yield f"{name} is not a JSON mapping"
    if table in ("layers", "joint"):
        yield from _wrong_lists(row)


def _wrong_lists(row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the columns that have a value, or several, for each filter; null ones are not."""
    each = {name: 1 for name in ("keep_mask", *EACH_FILTER)}
    if row.get("filter_weights") is not None:
        each["filter_weights"] = math.prod(row["filter_shape"] or [0])
    for name, times in each.items():
        values = row.get(name)
        if values is not None and len(values) != times * row["num_filters"]:
            yield f"{name} has {len(values)} values for {row['num_filters']} filters"
    if (sizes := row.get("layer_sizes")) is not None and (None in sizes or sum(sizes) != row["num_filters"]):
        yield f"layer_sizes do not add up to {row['num_filters']} filters"
    for name in NUMBERS:
        if any(value is None or not math.isfinite(value) for value in row.get(name) or ()):
            yield f"{name} has gaps"


def _wrong_trial(row: Mapping[str, Any], present: Collection[str]) -> Iterator[str]:
    if row["status"] not in STATUSES:
        yield f"status is {row['status'][:100]!r}, but must be one of {', '.join(STATUSES)}"
    if row["stopped_by"] not in STOPPED_BY:
        yield f"stopped_by is {row['stopped_by'][:100]!r}, but must be budget, dominated or null"
    if row["status"] == "completed" or row["val_score"] is not None:
        null = [name for name in MEASURED if name in present and row[name] is None]
        yield from (f"{name} is null, although the trial has scores" for name in null)
    if (key := row["baseline_key"]) is not None and not names_a_folder(key):
        yield "baseline_key is not the name of a folder"
    layers = row["layers"]
    if layers is not None and layers.startswith("[") and not _is_names(layers):
        yield "layers is not a JSON list of names"


def names_a_folder(name: object) -> bool:
    """Whether ``name`` is the name of a folder, and not a path elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & {"/", "\0"}


def _out_of_range(name: str, value: float) -> str:
    """What a value must be, where it is not."""
    if name in POSITIVE and value <= 0:
        return "above 0"
    if name in NOT_NEGATIVE and value < 0:
        return "at least 0"
    return "from 0 to 1" if name in SHARES and not 0 <= value <= 1 else ""


def _is_mapping(text: str) -> bool:
    return isinstance(_parsed(text), dict)


def _is_names(text: str) -> bool:
    names = _parsed(text)
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
