"""The rows of the zoo as a table: the result of each network, and the sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.surgery_gauntlet import PASSED

Row = dict[str, Any]
RESULTS = ("proved", "refused", "wrong", "not run")


def table(rows: Iterable[Row]) -> str:
    """Markdown: the sums of each family, and a line a network."""
    rows = sorted(rows, key=lambda row: (row["network"].split()[0] != "torchvision", row["network"]))
    lines = [*sums(rows), "", "| network | result | prunable | s | GiB | Torch-Pruning |", "|---|---|---|---|---|---|"]
    for row in rows:
        result = row["result"] if row["result"] == "proved" else f"{row['result']}: {row['why'][:160]}"
        prunable = f"{row['prunable']} of {row['convolutions']}" if "prunable" in row else ""
        gib = f"{row['gib']:.1f}" if "gib" in row else ""
        cells = (row["network"], result, prunable, f"{row['seconds']:.0f}", gib, _peer(row))
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def sums(rows: Iterable[Row]) -> list[str]:
    """How many networks came to what, and which share of all convolutions can be pruned."""
    rows = list(rows)
    lines = [
        "| | networks | proved | refused | wrong | not run | convolutions prunable | Torch-Pruning passes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family in (*dict.fromkeys(row["network"].split()[0] for row in rows), "all"):
        some = [row for row in rows if family in ("all", row["network"].split()[0])]
        counts = [sum(row["result"] == result for row in some) for result in RESULTS]
        prunable = sum(row.get("prunable", 0) for row in some if row["result"] == "proved")
        convs = sum(row.get("convolutions", 0) for row in some)
        share = f"{prunable:,} of {convs:,} ({prunable / convs:.1%})" if convs else ""
        tried = [row for row in some if "peer" in row]
        peer = f"{sum(row['peer'] == PASSED for row in tried)} of {len(tried)}" if tried else ""
        lines.append(f"| {family} | {len(some)} | {' | '.join(map(str, counts))} | {share} | {peer} |")
    return lines


def _peer(row: Row) -> str:
    return str(row.get("peer", ""))[:80]
