"""Print the tables of docs/results.md from the schemas: ``python scripts/result_tables.py``."""

from __future__ import annotations

import pyarrow as pa

from raprune.results.columns import TABLES
from raprune.results.schemas import COST_COLUMNS

TYPES = {"string": "text", "int64": "integer", "double": "float", "float": "float", "bool": "bool", "binary": "bytes"}
INTRODUCTIONS = {
    "trial": "One row per trial.",
    "layers": "One row per trial and layer, as it was decided; what joint passes took afterwards is in `joint`.",
    "updates": "One row per update of a layer's agent.",
    "candidates": "One row per mask that a method asked to have scored. Masks of the agent's updates have `update` "
    "set; those of its search after learning do not.",
    "joint": "One row per joint pass ([bound.md](bound.md)). Trials without one have no file.",
    "low_rank": "One row per convolution or linear layer of a trial with a low-rank step "
    "([low_rank.md](low_rank.md)), whether it was factorised or not. Other trials have no file.",
    "speed": "One row per device, backend, batch size and network (baseline or pruned). `raprune bench` writes them "
    "and replaces those of an earlier run ([speed.md](speed.md)). No file before it ran.",
    "pictures": "If labels are per pixel: the validation images that pruning changed most and least, `image` in "
    "colours and the other three as maps of classes. Other trials have no file.",
}


def markdown() -> str:
    """Every table with its columns."""
    lines = []
    for table, columns in TABLES.items():
        lines += ["", f"## `{table}`", "", INTRODUCTIONS[table], "", "| column | type | meaning |", "|---|---|---|"]
        for column, (kind, meaning) in columns.items():
            cost = " *(cost)*" if column in COST_COLUMNS[table] else ""
            lines.append(f"| `{column}` | {_type(kind)} | {meaning}{cost} |")
    return "\n".join(lines) + "\n"


def _type(kind: pa.DataType) -> str:
    return f"list of {_type(kind.value_type)}" if pa.types.is_list(kind) else TYPES[str(kind)]


if __name__ == "__main__":
    print(markdown(), end="")
