"""Tables for a person: the trials of a study before it runs, and their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from raprune.console.baselines import baseline_lines
from raprune.console.labels import trial_label
from raprune.console.progress import StudyProgress
from raprune.console.seeds import seed_lines
from raprune.console.trials import TrialProgress
from raprune.network.graph import GIVES_OUTPUT, Graph
from raprune.plugins.datasets.normalisation import STATISTICS
from raprune.preflight.checks import Facts, expected_candidates, facts_key, num_layers
from raprune.preflight.guarding import guard_line
from raprune.preflight.limits import limit_line
from raprune.registry import is_given, is_imported
from raprune.results import DOMINATED, Tables, candidates_in_all, read_study, short_count
from raprune.study import StudyPlan, TrialSpec
from raprune.study.wording import counted
from raprune.trial.low_rank import low_rank_line

MOST_NAMED = 3
"""Convolutions that a line names."""


def plan_table(plan: StudyPlan) -> Table:
    """One row per trial: its id and its place on the sweep's axes."""
    axes = list(dict.fromkeys(axis for labels in plan.axes.values() for axis in labels))
    table = Table(title=counted(len(plan.trials), "trial"), title_justify="left", box=None, header_style="bold")
    for name in ("trial", *axes, "matched to"):
        table.add_column(name, no_wrap=True)
    for trial in plan.trials:
        labels = plan.axes[trial.trial_id]
        table.add_row(trial.trial_id, *(labels.get(axis, "") for axis in axes), trial.matched_trial_id or "")
    return table


def facts_lines(plan: StudyPlan, facts: Mapping[str, Facts]) -> list[str]:
    """Facts about a study's networks, data and bounds, each once."""
    lines = []
    for fact in facts.values():
        guard = "" if fact.guard is None else f", {fact.guard.num_images} for the guard"
        test = f"{fact.num_test} test" if fact.num_test is not None else "no test split: test scores will be null"
        prunable, all_convs = fact.graph.prunable()
        lines += [
            f"\n{fact.model} on {fact.dataset}: {counted(len(fact.graph.groups), 'layer')} can be pruned; "
            f"{fact.params:,} parameters, {fact.macs:,} multiply-adds",
            f"{prunable} of {all_convs} convolutions can be pruned ({prunable / all_convs:.1%}; "
            "those that produce the output are not counted)",
            *_whole_lines(fact.graph, all_convs),
            *_decided_lines([trial for trial in plan.trials if facts[facts_key(trial)] is fact]),
            f"{fact.num_train} training images, {fact.num_val} for validation{guard}, {test}",
            _images_line(fact),
        ]
        if fact.checkpoint_score is not None:
            value = with_unit(fact.checkpoint_score, fact.score_unit)
            lines.append(f"the checkpoint scores {value} on validation images")
        lines += left_out_lines(fact)
    lines += [*_baseline_lines(plan.trials), *seed_lines(plan.trials)]
    for trial in sorted(plan.trials, key=lambda t: (t.drop_bound or 0, t.score_floor or 0)):
        lines.append(_bound_line(trial, facts[facts_key(trial)]))
    lines += filter(None, (guard_line(trial, facts[facts_key(trial)].guard) for trial in plan.trials))
    lines += filter(None, (limit_line(trial, facts[facts_key(trial)].num_val) for trial in plan.trials))
    for trial in plan.trials:
        if (step := trial.postprocess.low_rank) is not None:
            lines.append(low_rank_line(step, facts[facts_key(trial)].low_rank))
    return list(dict.fromkeys(lines))


def _whole_lines(graph: Graph, all_convs: int) -> Iterator[str]:
    """Why convolutions stay whole, the reason for most of them first."""
    for reason, convs in graph.reasons().items():
        share = "" if reason == GIVES_OUTPUT else f" ({len(convs) / all_convs:.1%})"
        more = f" and {len(convs) - MOST_NAMED} more" if len(convs) > MOST_NAMED else ""
        yield f"  left whole{share}: {', '.join(convs[:MOST_NAMED])}{more}: {reason}"


def left_out_lines(fact: Facts) -> list[str]:
    """What is in a checkpoint but is not loaded."""
    return [f"not loaded from the checkpoint, as the network has no place for it: {what}" for what in fact.left_out]


def _images_line(fact: Facts) -> str:
    """The size of the images, and how their pixels are normalised."""
    channels, height, width = fact.input_shape
    size = f"images of {width}x{height} pixels (width x height), {counted(channels, 'channel')}"
    if fact.statistics is None:
        return f"{size}, floats that are used as they are"
    name = next((f" ({name})" for name, known in STATISTICS.items() if known == fact.statistics), "")
    mean, std = ("(" + ", ".join(f"{value:.4g}" for value in values) + ")" for values in fact.statistics)
    line = f"{size}, normalised{name}: scaled to [0, 1], mean {mean}, std {std}"
    if fact.streamed_bytes is None:
        return line
    return f"{line}; those to train on ({fact.streamed_bytes / 2**30:.2g} GiB of pixels) are decoded for each batch"


def _baseline_lines(trials: Sequence[TrialSpec]) -> Iterator[str]:
    """Where baselines come from; those that differ only in seeds share a line."""
    pairs = {(trial.model.name, trial.dataset.name) for trial in trials}
    origins: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        what = f"baseline of {trial.model.name} on {trial.dataset.name}" if len(pairs) > 1 else "baseline"
        origins.setdefault((what, _baseline_origin(trial)), set()).add(trial.baseline_key)
    for (what, origin), keys in origins.items():
        yield f"{what}: {origin}" + (
            f" ({len(keys)} of them, which differ in seeds or settings)" if len(keys) > 1 else ""
        )


def _baseline_origin(trial: TrialSpec) -> str:
    spec, pretrained = trial.baseline, trial.model.settings.get("pretrained", "none")
    if spec.checkpoint is not None:
        return f"the checkpoint {spec.checkpoint}, not trained any further"
    if is_given(trial.model.name):
        return "the network as it was passed in, not trained any further"
    begin = "random weights" if pretrained in ("none", None, False) else f"pretrained weights ({pretrained})"
    if is_imported(trial.model.name):
        begin = f"the weights that {trial.model.name} sets"
    return f"trained here, {counted(spec.epochs, 'epoch')}, from {begin}"


def _decided_lines(trials: Sequence[TrialSpec]) -> Iterator[str]:
    """Which layers are decided, where a study does not decide all."""
    chosen = {tuple(trial.layers) for trial in trials if trial.layers != "all"}
    for layers in sorted(chosen)[:1] if len(chosen) == 1 else []:
        yield f"{len(layers)} of them {'is' if len(layers) == 1 else 'are'} decided: {', '.join(layers)}"
    if len(chosen) > 1:
        sizes = sorted({len(layers) for layers in chosen})
        number = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        yield f"{number} of them {'is' if number == '1' else 'are'} decided by a trial, {len(chosen)} choices in all"


def _bound_line(trial: TrialSpec, fact: Facts) -> str:
    """A bound, and how many images it is worth."""
    sign = "%" if fact.score_unit == "percent" else f" {fact.score_unit}"
    if trial.score_floor is not None:
        what, points = f"score floor {trial.score_floor:g}{sign}", trial.score_floor
    else:
        points = trial.drop_bound or 0.0
        unit = fact.score_unit if fact.score_unit != "percent" else "point" if points == 1 else "points"
        what = f"drop bound {points:g} {unit}"
    if fact.standard_error is None:
        return f"{what} of {trial.score.name} on {fact.num_val} validation images"
    return (
        f"{what} = {points * fact.num_val / 100:.1f} of {fact.num_val} validation images "
        f"(standard error of one score: {fact.standard_error:.2f} points)"
    )


def with_unit(score: float, unit: str) -> str:
    """``91.2%``, or ``30.1 dB``."""
    return f"{score:.1f}%" if unit == "percent" else f"{score:.1f} {unit}"


def study_progress(plan: StudyPlan, facts: Mapping[str, Facts], console: Console, out: Path) -> StudyProgress:
    """What a person sees of ``plan`` while it runs in the folder ``out``, and what other processes can read there."""

    def begun(plan: StudyPlan) -> dict[str, TrialProgress]:
        trials = {}
        for trial in plan.trials:
            fact = facts[facts_key(trial)]
            label = trial_label(plan.axes[trial.trial_id])
            matched, layers = trial.matched_trial_id is not None, num_layers(trial, fact)
            asked = 0 if matched else expected_candidates(trial, fact) - layers
            joint = trial.postprocess.joint
            passes = 0 if joint is None else joint.passes
            trials[trial.trial_id] = TrialProgress(label, asked, layers, matched, passes=passes)
        return trials

    search = plan.spec.search  # whose trials come one round after the other
    return StudyProgress(
        console, {} if search else begun(plan), plan.spec.budget is not None, out=out, study=plan.spec.name,
        begun=begun, wanted=search.trials if search else None,
    )  # fmt: skip


_OUTCOMES = ("bound", "pruned", "params\nless", "MACs\nless", "val\ndrop", "test\ndrop", "whole")


def results_table(tables: Tables) -> Table:
    """The results of a study, one row per trial; fits into 90 columns unless many keys were swept."""
    bounds = dict(zip(tables.trials["trial_id"], tables.trials["drop_bound"], strict=True))
    axes: dict[str, dict[str, str]] = tables.manifest["axes"]
    own = [
        axis
        for axis in dict.fromkeys(axis for labels in axes.values() for axis in labels)
        if axis not in ("method", "drop_bound", "order")
    ]
    short = {axis: short_labels([labels.get(axis, "") for labels in axes.values()]) for axis in own}
    numbered = [f"{axis} {name}: {label}" for axis in own for label, name in short[axis].items() if name.isdigit()]
    caption = [*baseline_lines(tables.trials), *(line for line in numbered if line.count("{"))]
    if any(ended_by_budget(row) for row in tables.trials.to_dict("records")):
        caption.append("* a budget ended the trial: undecided layers are whole")
    caption += _gain_lines(tables.trials.to_dict("records"), bounds)
    if number := int(tables.trials["num_diverged"].sum()):
        caption.append(diverged_line(number))
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, caption="\n".join(caption) or None,
        caption_justify="left",
    )  # fmt: skip
    table.add_column("method")
    for name in ("order", *own):
        table.add_column(name, no_wrap=True)
    for name in (*_OUTCOMES, "cand.", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in tables.trials.to_dict("records"):
        matched = isinstance(row["matched_trial_id"], str)
        bound = bounds.get(row["matched_trial_id"]) if matched else row["drop_bound"]
        extra = [short[axis][axes.get(str(row["trial_id"]), {}).get(axis, "")] for axis in own]
        method = axes.get(str(row["trial_id"]), {}).get("method", row["method"])
        table.add_row(method, row["order"], *extra, _number(bound, "{:g}"), *_outcome(row))
    return table


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """Label -> what a table shows: the name of a mapping, or its number where names do not tell mappings apart."""
    distinct = list(dict.fromkeys(labels))
    names = {}
    for label in distinct:
        found = json.loads(label) if label.startswith("{") else label
        names[label] = str(found.get("name", "")) if isinstance(found, dict) else label
    unique = {label: name for label, name in names.items() if name and list(names.values()).count(name) == 1}
    return {label: unique.get(label, str(number)) for number, label in enumerate(distinct, start=1)}


def ended_by_budget(row: Mapping[Any, Any]) -> bool:
    """Whether a budget stopped a trial, so that its row has the numbers of the best network so far."""
    return row["status"] == "stopped" and not pd.isna(row["val_score"]) and row.get("stopped_by") != DOMINATED


def finetune_gain(row: Mapping[Any, Any], bound: float | None) -> float | None:
    """Points that fine-tuning alone gains, nothing pruned; ``None`` unless above ``bound``, where drops say little."""
    values = row["baseline_finetuned_val_score"], row["baseline_val_score"], bound
    if any(value is None or pd.isna(value) for value in values):
        return None
    gain = float(row["baseline_finetuned_val_score"] - row["baseline_val_score"])
    return gain if gain > float(bound or 0.0) else None


def budget_sentence(out: Path, budget: str) -> str:
    """What it means that ``budget`` ended the study in ``out``, and how to continue."""
    rows = read_study(out, ["trial"]).trials.to_dict("records")
    stopped = [row for row in rows if row["status"] == "stopped" and row.get("stopped_by") != DOMINATED]
    ended = sum(map(ended_by_budget, stopped))
    parts = [f"{counted(ended, 'trial')} ended with the best network so far within the bound"] if ended else []
    if begun := len(stopped) - ended:
        parts.append(f"{counted(begun, 'trial')} did not begin")
    return (
        f"the budget of {budget} is spent: {', '.join(parts)}; the same command with a larger budget, or none, "
        "resumes from the last committed layers"
    )


def _gain_lines(rows: Sequence[Mapping[Any, Any]], bounds: Mapping[Any, float | None]) -> Iterator[str]:
    """A warning where baselines were not fully trained."""
    asked = ((row, bounds.get(row["matched_trial_id"], row["drop_bound"])) for row in rows)
    gains = [gain for row, bound in asked if (gain := finetune_gain(row, bound)) is not None]
    if gains:
        yield (
            f"fine-tuning alone, nothing pruned, gains up to {max(gains):.1f} points on validation images, more than "
            "the bound: the baseline was not fully trained, and drops against it say little"
        )


def diverged_line(number: int) -> str:
    """What it means that so many fine-tunes diverged, and what to do."""
    which = "a fine-tune" if number == 1 else f"{number} fine-tunes"
    return (
        f"{which} diverged (weights became NaN or infinite) and {'was' if number == 1 else 'were'} discarded: lower "
        "finetune.learning_rate"
    )


def _outcome(row: Mapping[Any, Any]) -> list[str]:
    if row["status"] != "completed" and not ended_by_budget(row):
        return [DOMINATED if row.get("stopped_by") == DOMINATED else str(row["status"])] + [""] * 7
    return [
        f"{row['pruning_ratio']:.1%}{'*' if ended_by_budget(row) else ''}",
        f"{1 - row['params'] / row['baseline_params']:.1%}",
        f"{1 - row['macs'] / row['baseline_macs']:.1%}",
        _number(row["val_score_drop"], "{:+.1f}"),
        _number(row["test_score_drop"], "{:+.1f}"),
        f"{row['num_layers_whole']:.0f}/{row['num_layers']:.0f}",
        short_count(candidates_in_all(row)),
        short_count(row["images_scored"]),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None or pd.isna(value) else form.format(value)
