"""One side of a comparison: some trials of a study, with what they were asked to do in comparable columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from raprune.errors import InputError
from raprune.registry import nearest
from raprune.results.read import place_of, read_study
from raprune.results.spent import candidates_in_all

REMOVED = {"macs": "multiply-adds", "params": "parameters", "filters": "filters"}
"""What a comparison can be on, in words."""
DROPS = {"val": "val_score_drop", "guard": "guard_score_drop", "test": "test_score_drop"}
PLUGINS = ("model", "dataset", "method", "decision", "order", "allocation", "reward")
SEEDS = {"dataset_settings": "split_seed", "baseline_settings": "seed"}
"""Settings by which baselines differ: the column and the key in it."""
NONE = "none"


@dataclass(frozen=True)
class Side:
    """The completed trials of one side."""

    study: str
    where: frozenset[tuple[str, str]]
    """Study's folder and id of each trial."""
    trials: pd.DataFrame
    """A row per trial: the columns of ``ASKED``, baseline_key, the shares removed, drops and num_candidates."""


def side_of(folder: Path, chosen: Iterable[str] = ()) -> Side:
    """The trials in a study's or trial's folder for which every ``KEY=VALUE`` of ``chosen`` holds.

    KEY is an axis of the study's sweep, or a column of the table trial. Raises :class:`InputError` where none
    completed.
    """
    study_dir, trial_id = place_of(folder)
    tables = read_study(study_dir, ["trial"])
    trials, axes = tables.trials, tables.manifest["axes"]
    own = trials.set_index("trial_id")["drop_bound"]
    partners = trials["matched_trial_id"]
    bounds = trials["drop_bound"].where(partners.isna(), partners.map(own))
    trials = trials.assign(bound=bounds.where(trials["score_floor"].isna()))
    if trial_id is not None:
        trials = trials[trials["trial_id"] == trial_id]
    for text in chosen:
        trials = _chosen(trials, axes, text, study_dir)
    done = trials[trials["status"] == "completed"]
    if done.empty:
        what = f" with {', '.join(chosen)}" if (chosen := list(chosen)) else ""
        raise InputError(f"{folder}{what}: none of {len(trials)} trials completed, so there is nothing to compare")
    where = frozenset((str(study_dir.resolve()), str(name)) for name in done["trial_id"])
    return Side(str(tables.manifest["study"]), where, _comparable(done))


def _chosen(trials: pd.DataFrame, axes: Mapping[str, Mapping[str, str]], text: str, study_dir: Path) -> pd.DataFrame:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} must be KEY=VALUE, such as method=magnitude")
    swept = dict.fromkeys(axis for labels in axes.values() for axis in labels)
    if key in swept:
        values = [axes.get(name, {}).get(key, NONE) for name in trials["trial_id"]]
    elif key in trials.columns:
        values = [_text(found) for found in trials[key]]
    else:
        known = [*swept, *trials.columns]
        raise InputError(f"{study_dir}: trials have no {key!r}{nearest(key, known)}")
    fits = [_same(found, value) for found in values]
    if not any(fits):
        there = list(dict.fromkeys(values))
        raise InputError(f"{study_dir} has no trial with {text}{nearest(value, there)}")
    return trials[fits]


def _same(found: str, wanted: str) -> bool:
    try:
        return float(found) == float(wanted)
    except ValueError:
        return found == wanted


def _text(value: Any) -> str:
    """A cell as text; ``none`` where it is null, however pandas spells that."""
    if value is None or pd.isna(value):
        return NONE
    return f"{value:g}" if isinstance(value, float) else str(value)


def _without(settings: Any, key: str) -> str:
    """Settings (JSON) without one key."""
    try:
        found = json.loads(settings)
    except (TypeError, ValueError):
        return _text(settings)
    return json.dumps({k: v for k, v in found.items() if k != key} if isinstance(found, dict) else found)


def _comparable(trials: pd.DataFrame) -> pd.DataFrame:
    asked = {name: [_text(value) for value in trials[column]] for name, column in ASKED.items()}
    for column, key in SEEDS.items():
        asked[column] = [_without(value, key) for value in trials[column]]
    for kind in PLUGINS:  # a plug-in differs in its name or in its settings
        both = zip(asked[kind], asked.pop(f"{kind}_settings"), strict=True)
        asked[kind] = [name if given in ("{}", NONE) else f"{name} {given}" for name, given in both]
    before_after = {"macs": ("baseline_macs", "macs"), "params": ("baseline_params", "params")}
    removed = {name: 100 * (1 - trials[after] / trials[before]) for name, (before, after) in before_after.items()}
    removed["filters"] = 100 * trials["pruning_ratio"]
    frame = pd.DataFrame({**asked, "baseline_key": trials["baseline_key"].map(_text)}, index=trials.index)
    spent = [candidates_in_all(row) for row in trials.to_dict("records")]
    drops = {split: trials[column].astype(float) for split, column in DROPS.items()}
    measured = {name: values.astype(float) for name, values in {**removed, **drops}.items()}
    return frame.assign(**measured, num_candidates=spent).reset_index(drop=True)


ASKED = {
    **{kind: kind for kind in PLUGINS},
    **{f"{kind}_settings": f"{kind}_settings" for kind in PLUGINS},
    "score": "score_name",
    "score_settings": "score_settings",
    "residual": "residual",
    "layers": "layers",
    "drop_bound": "bound",
    "score_floor": "score_floor",
    "guard": "guard",
    "validation images": "num_val_images",
    "baseline_settings": "baseline_settings",
    "candidates_per_layer": "candidates_per_layer",
    "images_per_layer": "images_per_layer",
    "acceptance": "acceptance",
    "warranty": "warranty",
    "credit": "credit",
    "round_to": "round_to",
    "fidelity": "fidelity",
    "finetune_settings": "finetune_settings",
    "postprocess_settings": "postprocess_settings",
    "scoring_settings": "scoring_settings",
}
"""What a trial was asked to do, as a comparison names it -> column of the table trial (``bound``: of matched trials, it
is their partner's)."""
