"""Print the tables of docs/results.md from the schemas: ``python scripts/result_tables.py``."""

from __future__ import annotations

from raprune.results.schemas import COST_COLUMNS, TABLES

TYPES = {"string": "text", "int64": "integer", "double": "float", "bool": "bool", "binary": "bytes"}
INTRODUCTIONS = {
    "trial": "One row a trial.",
    "layers": "One row a trial and decided layer.",
    "updates": "One row an update of a layer's agent.",
    "candidates": "One row a mask that a method asked to have scored. Masks of the agent's updates have `update` set; "
    "those of its search after the learning do not.",
    "low_rank": "One row a convolution or linear layer of a trial with a low-rank step "
    "([low_rank.md](low_rank.md)), whether it was factorised or not. No file where a trial has none.",
    "speed": "One row a device, backend, batch size and network (baseline or pruned), written by `raprune bench`, "
    "which replaces what it wrote before; [speed.md](speed.md) says how. No file where a trial has none.",
    "pictures": "Of a network with a label a pixel: the validation images that pruning changed the most and the least, "
    "`image` in colours and the other three as maps of classes. No file where a trial has none.",
}


def markdown() -> str:
    """Every table with its columns."""
    lines = []
    for table, columns in TABLES.items():
        lines += ["", f"## `{table}`", "", INTRODUCTIONS[table], "", "| column | type | meaning |", "|---|---|---|"]
        for column, (kind, meaning) in columns.items():
            cost = " *(cost)*" if column in COST_COLUMNS[table] else ""
            lines.append(f"| `{column}` | {TYPES.get(str(kind), 'list of bool')} | {meaning}{cost} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
