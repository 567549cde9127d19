"""Labels that tell the trials of a study apart; only repetitions with other seeds are averaged."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

NO_BOUND = "none"
"""The bound of a trial that has none and is matched to none."""
ALONE = "each layer alone"
"""The context of trials that decide one layer each, in a study that also has others."""
_PLUGINS = ("model", "dataset", "allocation", "reward")
_PLAIN = ("residual", "fidelity", "score_name")
_NUMBERS = {
    "candidates_per_layer": "{:,.0f} candidates per layer",
    "images_per_layer": "{:,.0f} images per layer",
    "guard": "guard {:g}",
    "warranty": "warranty {:g}",
}
"""Number columns that are part of the context, and how they are written."""
_SETTINGS = ("baseline_settings", "finetune_settings", "scoring_settings")
_NOT_SHOWN = {
    "baseline_settings": ("seed",),
    "dataset_settings": ("split_seed",),
    "finetune_settings": ("before_reward",),
    "method_settings": ("draw",),
}
"""Seeds and random draws are averaged over; the fine-tune before a reward is the fidelity."""


def text(value: Any) -> str | None:
    """A cell of a text column; ``None`` if it is null, however pandas spells that."""
    return None if value is None or pd.isna(value) else str(value)


def describe(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with ``matched`` and, as text, ``bound``, ``method``, ``order``, ``context`` and ``scope``.

    ``bound`` of a matched trial is its partner's. If plug-ins of one name have different settings, those that differ
    are part of the label; so is the decision stage, if one method has several. ``context`` says what else differs
    within the study (networks, data, fidelity, limits), ``scope`` which layers were decided if that differs. Both are
    empty in a study that sweeps neither. Settings that change only together with the network are left out,
    a credit that follows from the bound, and joint passes that follow from the method. ``single``
    marks the trials of a study that decides several layers one by one; ``score_name`` and ``unit`` say what a drop is.
    """
    own = trials.set_index("trial_id")["drop_bound"]
    matched = trials["matched_trial_id"].notna()
    bounds = trials["drop_bound"].where(~matched, trials["matched_trial_id"].map(own))
    parts = [varying(plugin_labels(trials, kind)) for kind in _PLUGINS]
    parts += [varying([text(value) or "" for value in trials[column]]) for column in _PLAIN]
    parts.append(varying([f"rounded to {number:g}" if number > 1 else "" for number in trials["round_to"].fillna(1)]))
    lent = varying([f"credit {points:g}" if points > 0 else "" for points in trials["credit"].fillna(0.0)])
    parts += [] if _follows(lent, [f"{bound:g}" for bound in bounds]) else [lent]  # as credit: auto does
    parts += [varying(["" if pd.isna(n) else form.format(n) for n in trials[name]]) for name, form in _NUMBERS.items()]
    settings = [_differences(trials[column], _NOT_SHOWN.get(column, ())) for column in _SETTINGS]
    parts += [labels for labels in settings if not _follows(labels, parts[0])]
    methods = _method_labels(trials)
    joint, low_rank = (varying(_step_labels(trials["postprocess_settings"], step)) for step in ("joint", "low_rank"))
    usual = _follows(joint, [f"{method} {own}" for method, own in zip(methods, matched, strict=True)])
    parts += [low_rank] if usual else [joint, low_rank]
    scopes = _scopes(trials["layers"])
    parts.append(varying([ALONE if single else "" for _, single in scopes]))
    units = [text(unit) or "percent" for unit in trials["score_unit"]]
    described = trials.assign(
        matched=matched.astype(bool),
        bound=[NO_BOUND if pd.isna(bound) else f"{bound:g}" for bound in bounds],
        method=methods,
        order=plugin_labels(trials, "order"),
        context=[", ".join(filter(None, words)) for words in zip(*parts, strict=True)],
        scope=[scope for scope, _ in scopes],
        single=pd.Series([single for _, single in scopes], index=trials.index, dtype=bool),
        score_name=[text(name) or "score" for name in trials["score_name"]],
        unit=["points" if unit == "percent" else unit for unit in units],
    )
    return _told_apart(described)


def _told_apart(described: pd.DataFrame) -> pd.DataFrame:
    """With the study as part of the context, where trials of two studies have no other difference in their labels."""
    labels = described[["study", "matched", "bound", "method", "order", "context", "scope"]].drop_duplicates()
    if len(labels) == len(labels.drop(columns="study").drop_duplicates()):
        return described
    pairs = zip(described["study"], described["context"], strict=True)
    return described.assign(context=[joined(*pair) for pair in pairs])


def rehearsed_study(manifest: Mapping[str, Any]) -> str | None:
    """The study of which this is the rehearsal; ``None`` for a study itself."""
    name, suffix = str(manifest["study"]), "-rehearsal"
    found = manifest.get("rehearses") or (name.removesuffix(suffix) if name.endswith(suffix) else None)
    return None if found is None else str(found)


def seeds_line(trials: pd.DataFrame) -> str:
    """What repetitions with other seeds vary, and what they leave alone; empty without repetitions."""
    dealt = [json.loads(text(value) or "{}").get("split_seed") for value in trials["dataset_settings"]]
    seeds = trials[["seed", "baseline_seed", "data_seed"]].assign(split_seed=dealt)
    names = {
        "seed": "the method's draws",
        "baseline_seed": "the baseline's training",
        "split_seed": "the split into training and validation images",
        "data_seed": "the batches of fine-tunes",
    }
    varied = [name for column, name in names.items() if seeds[column].nunique() > 1]
    same = [name for name in names.values() if name not in varied]
    if not varied:
        return ""
    less = f"; {', '.join(same)} stay the same, so the whiskers leave them out" if same else ""
    return f"Means and whiskers are over seeds of {', '.join(varied)}{less}."


def in_order(values: Iterable[str]) -> list[str]:
    """Distinct values as they first appear."""
    return list(dict.fromkeys(values))


def in_bound_order(bounds: Iterable[str]) -> list[str]:
    """Distinct bounds, the tightest first, :data:`NO_BOUND` last."""
    return sorted(set(bounds), key=lambda bound: float("inf") if bound == NO_BOUND else float(bound))


def bound_text(bound: str) -> str:
    """A bound in a title."""
    return "no drop bound" if bound == NO_BOUND else f"drop bound {bound}"


def joined(*parts: str) -> str:
    """The non-empty parts, with commas."""
    return ", ".join(filter(None, parts))


def drop_text(drop: float) -> str:
    """A score drop in points with its sign; one that rounds to zero has none."""
    return f"{drop:+.1f}".replace("-", "−") if abs(drop) >= 0.05 else "0.0"


def trial_words(row: Mapping[Any, Any]) -> str:
    """A trial's label below a cluster of bars: method and bound, order, context, scope, one per line."""
    bound = "" if row["bound"] == NO_BOUND else f"bound {row['bound']}"
    method = f"{row['method']} (matched)" if row["matched"] else str(row["method"])
    lines = (joined(method, bound), str(row["order"]), *textwrap.wrap(str(row["context"]), 28), str(row["scope"]))
    return "\n".join(filter(None, lines))


def score_drop_label(frame: pd.DataFrame) -> str:
    """Label of an axis of score drops: ``mean_iou drop (points)``; ``score drop`` for several scores."""
    names = in_order(frame["score_name"])
    return f"{names[0] if len(names) == 1 else 'score'} drop ({units_of(frame)})"


def bounds_label(frame: pd.DataFrame) -> str:
    """The title of a legend of drop bounds."""
    return f"drop bound ({units_of(frame)})"


def units_of(frame: pd.DataFrame) -> str:
    """The unit of drops and bounds: points of a percentage, or another; perhaps both for several scores."""
    return " or ".join(in_order(frame["unit"]))


def short_name(layer: str, longest: int) -> str:
    """A layer's name; only its end if it is long."""
    return layer if len(layer) <= longest else f"…{layer[1 - longest :]}"


def wrapped(title: str, width_in: float) -> str:
    """A panel's title in lines that fit into ``width_in`` inches."""
    return textwrap.fill(title, max(24, int(13 * width_in)), break_long_words=False)


def plugin_labels(trials: pd.DataFrame, kind: str) -> list[str]:
    """Names of a plug-in, with the settings in which those of one name differ."""
    labels = pd.Series("", index=trials.index, dtype=object)
    for name, part in trials.groupby(kind, sort=False, dropna=False):
        column = f"{kind}_settings"
        differences = _differences(part[column], _NOT_SHOWN.get(column, ()))
        known = text(name) or "unknown"
        labels[part.index] = [f"{known} ({settings})" if settings else known for settings in differences]
    return list(labels)


def _method_labels(trials: pd.DataFrame) -> list[str]:
    """The method, with the decision stage where trials of one method and its settings differ in it."""
    methods, decisions = plugin_labels(trials, "method"), plugin_labels(trials, "decision")
    if len(set(zip(methods, decisions, strict=True))) == len(set(methods)):
        return methods
    return [joined(method, decision) for method, decision in zip(methods, decisions, strict=True)]


def _step_labels(column: pd.Series, step: str) -> list[str]:
    """A step's name, with the settings in which the trials that have it differ; nothing for the others."""
    steps = pd.Series([json.loads(text(value) or "{}").get(step) for value in column], dtype=object)
    steps = steps[steps.notna()].map(json.dumps)
    labels, name = dict.fromkeys(range(len(column)), ""), step.replace("_", " ")
    for place, settings in zip(steps.index, _differences(steps), strict=True):
        labels[place] = f"{name} ({settings})" if settings else name
    return list(labels.values())


def varying(values: list[str]) -> list[str]:
    """The values, or nothing at all where they are all the same."""
    return values if len(set(values)) > 1 else [""] * len(values)


def _follows(values: list[str], other: list[str]) -> bool:
    """Does ``other`` differ, and determine the value?"""
    pairs = set(zip(other, values, strict=True))
    return len(pairs) == len(set(other)) > 1


def _scopes(column: pd.Series) -> list[tuple[str, bool]]:
    """For each trial its decided layers, if those differ, and whether it is one of several that decide one each."""
    decided = [text(value) or "" for value in column]
    layers = [list(json.loads(value)) if value.startswith("[") else [] for value in decided]
    several = len({names[0] for names in layers if len(names) == 1}) > 1
    single = [several and len(names) == 1 for names in layers]
    names = [", ".join(listed) or value for listed, value in zip(layers, decided, strict=True)]
    differ = len({name for name, one in zip(names, single, strict=True) if not one}) > 1
    return [(name if one or differ else "", one) for name, one in zip(names, single, strict=True)]


def _differences(column: pd.Series, leave_out: tuple[str, ...] = ()) -> list[str]:
    """For each JSON text, the keys and values in which it differs from the others."""
    flat = [dict(_flatten(json.loads(text(value) or "{}"))) for value in column]
    keys = [key for key in in_order(key for settings in flat for key in settings) if key.split(" ")[0] not in leave_out]
    differ = [key for key in keys if len({json.dumps(settings.get(key)) for settings in flat}) > 1]
    return [
        ", ".join(f"{key} {_in_words(settings[key])}" for key in differ if settings.get(key) is not None)
        for settings in flat
    ]


def _in_words(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flatten(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{key} ")
        else:
            yield f"{above}{key}", value
