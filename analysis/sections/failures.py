"""What failed and what broke its contract, with the whole error."""

from __future__ import annotations

from html import escape
from typing import Any

from ..labels import describe, text
from ..page import Section
from ..studies import Report
from ..trials_table import has_numbers, over_bound, trial_link, trial_name

PLACE = -1


def section(report: Report) -> Section | None:
    """``None`` if all went well."""
    rows = describe(report.tables.trials).to_dict("records")
    failed = [row for row in rows if row["status"] == "failed"]
    over = [row for row in rows if has_numbers(row) and over_bound(row)]
    if not failed and not over and not report.damaged:
        return None
    counts = [
        f"{len(of)} {'trial' if len(of) == 1 else 'trials'} {what}"
        for of, what in ((failed, "failed"), (over, "over the bound"), (report.damaged, "damaged"))
        if of
    ]
    items = [_failure(row) for row in failed] + [_over(row) for row in over]
    items += [f"<p>left out: {escape(message)}</p>" for message in report.damaged]
    return Section("failures", ", ".join(counts), "".join(items), kind="failures")


def _failure(row: dict[str, Any]) -> str:
    error = (text(row["error"]) or "no error was recorded").strip()
    head, _, rest = error.partition("\n")
    name = f"<b>{escape(trial_name(row))}</b> {trial_link(row['trial_id'])}"
    if not rest:
        return f"<p>{name}: {escape(head)}</p>"
    return f"<details><summary>{name}: {escape(head)}</summary><pre>{escape(rest)}</pre></details>"


def _over(row: dict[str, Any]) -> str:
    words = f"lost {row['val_score_drop']:.2f} points of validation score, over its bound"
    return f"<p><b>{escape(trial_name(row))}</b> {trial_link(row['trial_id'])}: {words}</p>"
