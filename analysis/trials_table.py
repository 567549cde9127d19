"""The table of all trials at the end of the report: completed, failed, stopped and not yet ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import pandas as pd

from raprune.results import DOMINATED, Tables, candidates_in_all, short_count

from .labels import NO_BOUND, describe, drop_text, joined, text

Row = Mapping[Any, Any]
WITHIN = 1e-9
"""Rounding allowed when a drop is compared with its bound, points."""


def _ended_early(row: Row) -> str:
    """The mark of a trial that was stopped with scores: why, and how many of its layers were decided."""
    if row["status"] != "stopped" or not has_numbers(row):
        return ""
    why = "others dominated it" if row["stopped_by"] == DOMINATED else "stopped"
    decided, layers = row["num_layers_decided"], row["num_layers"]
    said = f"all {layers:.0f} layers decided, but not all that follows" if decided == layers else ""
    return f" ({why}: {said or f'{decided:.0f} of {layers:.0f} layers decided'})"


def _removed(part: str) -> Callable[[Row], str]:
    return lambda row: f"{1 - row[part] / row[f'baseline_{part}']:.1%}"


def _number(column: str, form: str) -> Callable[[Row], str]:
    return lambda row: "" if pd.isna(row[column]) else form.format(row[column])


def _drop(column: str) -> Callable[[Row], str]:
    return lambda row: "" if pd.isna(row[column]) else drop_text(row[column])


def fresh_drop(row: Row) -> str:
    """The drop on the guard images and the limit of the drop on fresh ones, such as ``+0.7 (+2.1)``."""
    drop, limit = _drop("guard_score_drop")(row), _drop("score_drop_limit")(row)
    return f"{drop} ({limit})" if limit else drop


_WHO: dict[str, Callable[[Row], str]] = {
    "method": lambda row: row["method"] + (" (matched)" if row["matched"] else "") + _ended_early(row),
    "order": lambda row: row["order"],
    "other settings": lambda row: joined(row["context"], row["scope"]),
    "bound": lambda row: "" if row["bound"] == NO_BOUND else row["bound"],
    "seed": lambda row: str(row["seed"]),
}
_OUTCOME: dict[str, Callable[[Row], str]] = {
    "filters pruned": _number("pruning_ratio", "{:.1%}"),
    "params removed": _removed("params"),
    "MACs removed": _removed("macs"),
    "val": _number("val_score", "{:.1f}"),
    "val drop": _drop("val_score_drop"),
    "guard drop (limit)": fresh_drop,
    "test": _number("test_score", "{:.1f}"),
    "test drop": _drop("test_score_drop"),
    "layers whole": lambda row: f"{row['num_layers_whole']:.0f} of {row['num_layers']:.0f}",
    "candidates": lambda row: f"{candidates_in_all(row):,.0f}",
    "images scored": lambda row: short_count(row["images_scored"]),
    "time (s)": _number("wall_time_s", "{:,.0f}"),
}
_TEXT = ("study", "method", "order", "other settings")
_NARROW = ("method", "bound", "filters pruned", "val drop", "test drop")
"""Columns that a telephone shows; all others are in the trial's own view."""
_MEDIUM = (*_NARROW, "study", "order", "MACs removed", "params removed", "seed")
SHORT_ID = 7
"""Characters of a trial's id that tell it apart in a table."""


def trial_link(trial_id: str) -> str:
    """A link that opens the trial; the end of its id is printed but not shown on a screen."""
    head, rest = (trial_id[:SHORT_ID], trial_id[SHORT_ID:]) if len(trial_id) <= 12 else (trial_id, "")
    tail = f"<i>{escape(rest)}</i>" if rest else ""
    name = quote(trial_id, safe="/")
    return f'<a class="id" href="#trial={name}">{escape(head)}{tail}</a>'


def trials_table(tables: Tables) -> str:
    """One row per trial, in the study's order, as HTML."""
    rows = {row["trial_id"]: row for row in describe(tables.trials).to_dict("records")}
    done = [row for row in rows.values() if has_numbers(row)]
    who = dict(_WHO)
    if not any(who["other settings"](row) for row in rows.values()):
        del who["other settings"]
    outcome = dict(_OUTCOME)
    if all(pd.isna(row["test_score"]) for row in done):
        del outcome["test"], outcome["test drop"]
    if all(pd.isna(row["guard_score_drop"]) for row in done):
        del outcome["guard drop (limit)"]
    if tables.trials["study"].nunique() > 1:
        who = {"study": lambda row: row["study"], **who}
    names = "".join(f"<th{_class(name)}>{escape(name)}</th>" for name in (*who, *outcome))
    head = f"<th class='text'>trial</th>{names}"
    body = "".join(
        _trial(rows[trial_id], who, outcome)
        if trial_id in rows
        else _note(_planned(tables, trial_id), 1 + len(who) + len(outcome), "soft")
        for trial_id in tables.manifest["trial_ids"]
    )
    return f'<table class="trials"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def trial_name(row: Row) -> str:
    """A trial in a few words: ``agent, low_to_high, bound 4, seed 0``."""
    bound = _WHO["bound"](row)
    return joined(
        _WHO["method"](row),
        row["order"],
        _WHO["other settings"](row),
        f"bound {bound}" if bound else "",
        f"seed {row['seed']}",
    )


def over_bound(row: Row) -> bool:
    """Did a completed trial lose more on validation than its own bound allows?"""
    return not pd.isna(row["drop_bound"]) and row["val_score_drop"] > row["drop_bound"] + WITHIN


def has_numbers(row: Row) -> bool:
    """Did the trial end with scores: completed, or stopped with its best so far?"""
    return row["status"] == "completed" or (row["status"] == "stopped" and not pd.isna(row["val_score"]))


def _planned(tables: Tables, trial_id: str) -> str:
    axes = tables.manifest.get("axes", {}).get(trial_id, {})
    name = joined(*(f"{axis} {value}" for axis, value in axes.items()))
    return f"{name or trial_id}: not ended yet"


def _trial(row: Row, who: Mapping[str, Callable[[Row], str]], outcome: Mapping[str, Callable[[Row], str]]) -> str:
    cells = f"<td class='text'>{trial_link(row['trial_id'])}</td>"
    cells += "".join(f"<td{_class(name)}>{escape(show(row))}</td>" for name, show in who.items())
    if not has_numbers(row):
        kind = "failed" if row["status"] == "failed" else "soft"
        return f"<tr>{cells}{_cell(_why(row), len(outcome), kind)}</tr>"
    for name, show in outcome.items():
        cells += f"<td{_class(name, name == 'val drop' and over_bound(row))}>{escape(show(row))}</td>"
    opened = "<tr class='stopped'>" if row["status"] == "stopped" else "<tr>"
    return f"{opened}{cells}</tr>"


def _why(row: Row) -> str:
    first = (text(row["error"]) or "").strip().splitlines()
    return joined(row["status"], *first[:1])


def _note(words: str, width: int, kind: str) -> str:
    return f"<tr>{_cell(words, width, kind)}</tr>"


def _cell(words: str, width: int, kind: str) -> str:
    return f"<td class='text {kind}' colspan='{width}'>{escape(words)}</td>"


def _class(column: str, over: bool = False) -> str:
    width = "" if column in _NARROW else "medium" if column in _MEDIUM else "wide"
    names = joined(width, "text" if column in _TEXT else "", "failed" if over else "").replace(",", "")
    return f" class='{names}'" if names else ""
