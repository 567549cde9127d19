"""Tables for a person: the trials of a study before it runs, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from raprune.results import read_study
from raprune.study import StudyPlan


def plan_table(plan: StudyPlan) -> Table:
    """One row a trial: its id and its place on the sweep's axes."""
    axes = list(dict.fromkeys(axis for labels in plan.axes.values() for axis in labels))
    table = Table(title=f"{len(plan.trials)} trials", title_justify="left", box=None, header_style="bold")
    for name in ("trial", *axes, "matched to"):
        table.add_column(name, no_wrap=True)
    for trial in plan.trials:
        labels = plan.axes[trial.trial_id]
        table.add_row(trial.trial_id, *(labels.get(axis, "") for axis in axes), trial.matched_trial_id or "")
    return table


def trial_label(labels: Mapping[str, str]) -> str:
    """A trial in a few words: ``agent, drop_bound 4.0, low_to_high``."""
    words = [labels["method"]]
    for axis, value in labels.items():
        if axis != "method":
            words.append(value if axis == "order" else f"{axis} {value}")
    return ", ".join(words)


def results_table(out: Path) -> Table:
    """The end of a study, one row a trial; it fits a terminal of 80 columns."""
    tables = read_study(out)
    bounds = dict(zip(tables.trials["trial_id"], tables.trials["drop_bound"], strict=True))
    axes: dict[str, dict[str, str]] = tables.manifest["axes"]
    own = [
        a for a in dict.fromkeys(a for of in axes.values() for a in of) if a not in ("method", "drop_bound", "order")
    ]
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("method")
    for name in ("order", *own):
        table.add_column(name, no_wrap=True)
    for name in ("bound", "pruned", "params\nless", "MACs\nless", "val\ndrop", "test\ndrop", "whole"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in tables.trials.to_dict("records"):
        matched = isinstance(row["matched_trial_id"], str)
        bound = bounds.get(row["matched_trial_id"]) if matched else row["drop_bound"]
        extra = [axes.get(str(row["trial_id"]), {}).get(axis, "") for axis in own]
        method = axes.get(str(row["trial_id"]), {}).get("method", row["method"])
        table.add_row(method, row["order"], *extra, _number(bound, "{:g}"), *_outcome(row))
    return table


def _outcome(row: Mapping[Any, Any]) -> list[str]:
    if row["status"] != "completed":
        return [str(row["status"])] + [""] * 5
    return [
        f"{row['pruning_ratio']:.1%}",
        f"{1 - row['params'] / row['baseline_params']:.1%}",
        f"{1 - row['macs'] / row['baseline_macs']:.1%}",
        _number(row["val_score_drop"], "{:+.1f}"),
        _number(row["test_score_drop"], "{:+.1f}"),
        f"{row['num_layers_whole']:.0f}/{row['num_layers']:.0f}",
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None or pd.isna(value) else form.format(value)
