"""What the page shows of one trial when it is opened: settings, outcome, layers with their masks, commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raprune.results import allow_options, candidates_in_all, short_count

from .labels import describe, drop_text, text
from .studies import Report
from .trials_table import has_numbers, trial_name

MASK_BYTES = 600_000
"""Masks of more trials than fit into so many bytes are left out of the page."""
Row = Mapping[Any, Any]


def trial_views(report: Report) -> dict[str, dict[str, Any]]:
    """Trial id -> what is shown of it, in the order of the table."""
    layers: dict[str, list[Row]] = {}
    for layer in report.tables.layers.sort_values("prune_step", kind="stable").to_dict("records"):
        layers.setdefault(layer["trial_id"], []).append(layer)
    for of_all in report.tables.joint.sort_values("joint_step", kind="stable").to_dict("records"):
        named = {**of_all, "layer": f"joint pass {of_all['joint_step'] + 1}: all layers"}
        layers.setdefault(of_all["trial_id"], []).append(named)
    views: dict[str, dict[str, Any]] = {}
    left = MASK_BYTES
    for row in describe(report.tables.trials).to_dict("records"):
        own = layers.get(row["trial_id"], [])
        left -= sum(int(layer["num_filters"]) for layer in own) // 8
        home = report.homes[row["trial_id"]]
        views[row["trial_id"]] = {
            "name": trial_name(row),
            "status": row["status"],
            "home": str(home),
            "partner": text(row["matched_trial_id"]),
            "error": text(row["error"]),
            "settings": [[name, value] for name, value in _settings(row)],
            "outcome": [*_outcome(row)] if has_numbers(row) else [],
            "cost": [[name, value] for name, value in _cost(row)] if has_numbers(row) else [],
            "layers": [_layer(layer, left >= 0) for layer in own],
            "commands": _commands(home, row) if has_numbers(row) else [],
        }
    return views


def _settings(row: Row) -> Iterator[tuple[str, str]]:
    """What was asked for, by name; what is null is left out."""
    if not pd.isna(row["drop_bound"]):
        yield "drop bound", f"{row['drop_bound']:g} points of {row['score_name']}"
    for kind in ("method", "decision", "order", "allocation", "reward", "model", "dataset"):
        name = text(row[kind])
        if name:
            yield kind, _with_settings(name if kind not in ("method", "order") else row[kind], row[f"{kind}_settings"])
    for name, form in _PLAIN.items():
        if (value := text(row[name])) is not None:
            yield name.replace("_", " "), form(row[name]) if form else value
    for kind in ("baseline", "finetune", "scoring", "postprocess"):
        if said := _with_settings("", row[f"{kind}_settings"]):
            yield kind, said
    seeds = [f"{name or 'method'} {row[column]:.0f}" for name, column in _SEEDS.items() if not pd.isna(row[column])]
    yield "seeds", ", ".join(seeds)


_PLAIN: dict[str, Callable[[Any], str] | None] = {
    "candidates_per_layer": "{:,.0f}".format, "images_per_layer": "{:,.0f}".format, "guard": "{:.0%}".format,
    "warranty": "{:g}".format, "credit": "{:g} points".format, "round_to": "{:g}".format, "residual": None,
    "layers": None, "fidelity": None, "acceptance": None, "preset": None,
}  # fmt: skip
_SEEDS = {"": "seed", "baseline": "baseline_seed", "data": "data_seed"}


def _with_settings(name: str, settings: Any) -> str:
    words = ", ".join(f"{key} {_words(value)}" for key, value in json.loads(text(settings) or "{}").items() if value)
    return f"{name} ({words})" if name and words else name or words


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(own)}" for key, own in value.items() if own is not None)
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _outcome(row: Row) -> Iterator[list[str]]:
    """Rows of: what, baseline, pruned, change."""
    filters, kept = row["num_filters"], row["num_kept"]
    yield ["filters", f"{filters:,.0f}", f"{kept:,.0f}", f"−{row['pruning_ratio']:.1%}"]
    for name, column in (("parameters", "params"), ("multiply-adds", "macs"), ("bytes", "model_bytes")):
        old, new = row[f"baseline_{column}"], row[column]
        if not pd.isna(new) and old:
            yield [name, f"{old:,.0f}", f"{new:,.0f}", f"{new / old - 1:+.1%}".replace("-", "−")]
    for split, name in (("val", "validation"), ("guard", "guard"), ("test", "test")):
        old, new, drop = row[f"baseline_{split}_score"], row[f"{split}_score"], row[f"{split}_score_drop"]
        if not pd.isna(new):
            limit = row["score_drop_limit"] if split == "guard" else float("nan")
            least = "" if pd.isna(limit) else f", at most {drop_text(limit)} on fresh images (95%)"
            yield [
                f"{name} score",
                _score(old),
                _score(new),
                f"drop {drop_text(drop)}{least}" if not pd.isna(drop) else "",
            ]


def _score(score: float) -> str:
    return "" if pd.isna(score) else f"{score:.2f}"


def _cost(row: Row) -> Iterator[tuple[str, str]]:
    yield "candidates", f"{candidates_in_all(row):,.0f}"
    if images := short_count(row["images_scored"]):
        yield "images scored", images
    if not pd.isna(row["wall_time_s"]):
        yield "time", f"{row['wall_time_s']:,.0f} s"
    if device := text(row["device"]):
        yield "device", device


def _layer(row: Row, with_mask: bool) -> list[Any]:
    """Name, filters, kept, scores as cut and after the fine-tune, points used, and the mask's bits in hex.

    Of a joint pass the filters of the whole network, and those that are left of it.
    """
    scores = [
        None if pd.isna(row[c]) else round(row[c], 3) for c in ("cut_val_score", "finetuned_val_score", "drop_used")
    ]
    mask = np.packbits(np.asarray(row["keep_mask"], dtype=bool)).tobytes().hex() if with_mask else None
    return [row["layer"], row["num_filters"], row["num_kept"], *scores, mask]


def _commands(home: Path, row: Row) -> list[str]:
    folder = shlex.quote(str(home))
    export = f"raprune export {folder} --format pt2 --out small.pt2{allow_options(row, 'export')}"
    return [export, f"raprune bench {folder}{allow_options(row, 'bench')}"]
