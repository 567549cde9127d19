"""Tables for a person: the trials of a study before it runs, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from raprune.preflight import Facts, facts_key
from raprune.results import read_study
from raprune.study import StudyPlan, TrialSpec


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


def facts_lines(plan: StudyPlan, facts: Mapping[str, Facts]) -> list[str]:
    """What a study's networks, data and bounds come to, each once."""
    lines = []
    for fact in facts.values():
        test = f"{fact.num_test} test" if fact.num_test is not None else "no test split: test scores will be null"
        prunable, all_convs = fact.graph.prunable()
        lines += [
            f"\n{fact.model} on {fact.dataset}: {len(fact.graph.groups)} layers can be pruned; "
            f"{fact.params:,} parameters, {fact.macs:,} multiply-adds",
            f"{prunable} of {all_convs} convolutions can be pruned ({prunable / all_convs:.1%}; "
            "those that give the output are not counted)",
            *(f"  left whole: {conv} ({why})" for conv, why in fact.graph.whole.items()),
            f"{fact.num_train} training images, {fact.num_val} for validation, {test}",
        ]
        if fact.checkpoint_score is not None:
            value = with_unit(fact.checkpoint_score, fact.score_unit)
            lines.append(f"the checkpoint scores {value} on validation images")
    for trial in sorted(plan.trials, key=lambda t: (t.drop_bound or 0, t.score_floor or 0)):
        lines.append(_bound_line(trial, facts[facts_key(trial)]))
    return list(dict.fromkeys(lines))


def _bound_line(trial: TrialSpec, fact: Facts) -> str:
    """A bound in what it is worth."""
    sign = "%" if fact.score_unit == "percent" else f" {fact.score_unit}"
    if trial.score_floor is not None:
        what, points = f"score floor {trial.score_floor:g}{sign}", trial.score_floor
    else:
        points = trial.drop_bound or 0.0
        what = f"drop bound {points:g} {'points' if fact.score_unit == 'percent' else fact.score_unit}"
    if fact.standard_error is None:
        return f"{what} of {trial.score.name} on {fact.num_val} validation images"
    return (
        f"{what} = {points * fact.num_val / 100:.1f} of {fact.num_val} validation images "
        f"(standard error of one score: {fact.standard_error:.2f} points)"
    )


def with_unit(score: float, unit: str) -> str:
    """``91.2%``, or ``30.1 dB``."""
    return f"{score:.1f}%" if unit == "percent" else f"{score:.1f} {unit}"


def trial_label(labels: Mapping[str, str]) -> str:
    """A trial in a few words: ``agent, drop_bound 4.0, low_to_high``."""
    words = [labels["method"]]
    for axis, value in labels.items():
        if axis != "method":
            words.append(value if axis == "order" else f"{axis} {value}")
    return ", ".join(words)


def results_table(out: Path) -> Table:
    """The end of a study, one row a trial; it fits a terminal of 80 columns, unless many things were swept."""
    tables = read_study(out)
    bounds = dict(zip(tables.trials["trial_id"], tables.trials["drop_bound"], strict=True))
    axes: dict[str, dict[str, str]] = tables.manifest["axes"]
    own = [
        a for a in dict.fromkeys(a for of in axes.values() for a in of) if a not in ("method", "drop_bound", "order")
    ]
    short = {axis: short_labels([of.get(axis, "") for of in axes.values()]) for axis in own}
    said = [f"{axis} {name}: {label}" for axis in own for label, name in short[axis].items() if name.isdigit()]
    caption = "\n".join(line for line in said if line.count("{"))
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, caption=caption or None,
        caption_justify="left",
    )  # fmt: skip
    table.add_column("method")
    for name in ("order", *own):
        table.add_column(name, no_wrap=True)
    for name in ("bound", "pruned", "params\nless", "MACs\nless", "val\ndrop", "test\ndrop", "whole"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in tables.trials.to_dict("records"):
        matched = isinstance(row["matched_trial_id"], str)
        bound = bounds.get(row["matched_trial_id"]) if matched else row["drop_bound"]
        extra = [short[axis][axes.get(str(row["trial_id"]), {}).get(axis, "")] for axis in own]
        method = axes.get(str(row["trial_id"]), {}).get("method", row["method"])
        table.add_row(method, row["order"], *extra, _number(bound, "{:g}"), *_outcome(row))
    return table


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label -> what a table shows: of a mapping its name, or, where that does not tell them apart, its number."""
    distinct = list(dict.fromkeys(labels))
    names = {}
    for label in distinct:
        found = json.loads(label) if label.startswith("{") else label
        names[label] = str(found.get("name", "")) if isinstance(found, dict) else label
    told = {label: name for label, name in names.items() if name and list(names.values()).count(name) == 1}
    return {label: told.get(label, str(number)) for number, label in enumerate(distinct, start=1)}


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
