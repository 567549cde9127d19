"""What tells the trials of a study apart, in words: nothing is averaged but repetitions with other seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

NO_BOUND = "none"
"""The bound of a trial that has none and is matched to none."""
_PLUGINS = ("model", "dataset", "reward")
_PLAIN = ("residual", "fidelity", "score_name")
_SETTINGS = ("baseline_settings", "finetune_settings", "scoring_settings")
_NOT_SHOWN = {"baseline_settings": ("seed",), "finetune_settings": ("before_reward",)}
"""Seeds are averaged over; the fine-tune before a reward is the fidelity."""


def text(value: Any) -> str | None:
    """A cell of a text column; ``None`` where it is null, however pandas spells that."""
    return None if value is None or pd.isna(value) else str(value)


def describe(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with ``matched`` and, as text, ``bound``, ``method``, ``order``, ``context`` and ``scope``.

    ``bound`` of a matched trial is its partner's. Plug-ins of one name and different settings get the settings that
    differ into their label. ``context`` is what else differs over the study (networks, data, fidelity); ``scope`` the
    decided layers where they differ. Both are empty in a study that sweeps neither.
    """
    own = trials.set_index("trial_id")["drop_bound"]
    matched = trials["matched_trial_id"].notna()
    bounds = trials["drop_bound"].where(~matched, trials["matched_trial_id"].map(own))
    parts = [_varying(_plugin(trials, kind)) for kind in _PLUGINS]
    parts += [_varying([text(value) or "" for value in trials[column]]) for column in _PLAIN]
    parts += [_differences(trials[column], _NOT_SHOWN.get(column, ())) for column in _SETTINGS]
    return trials.assign(
        matched=matched.astype(bool),
        bound=[NO_BOUND if pd.isna(bound) else f"{bound:g}" for bound in bounds],
        method=_plugin(trials, "method"),
        order=_plugin(trials, "order"),
        context=[", ".join(filter(None, of)) for of in zip(*parts, strict=True)],
        scope=_varying([_layers(value) for value in trials["layers"]]),
    )


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
    """A score drop in points with its sign; what rounds to nothing has none."""
    return f"{drop:+.1f}".replace("-", "−") if abs(drop) >= 0.05 else "0.0"


def _plugin(trials: pd.DataFrame, kind: str) -> list[str]:
    """Names of a plug-in, with the settings in which those of one name differ."""
    labels = pd.Series("", index=trials.index, dtype=object)
    for name, part in trials.groupby(kind, sort=False, dropna=False):
        differences = _differences(part[f"{kind}_settings"])
        known = text(name) or "unknown"
        labels[part.index] = [f"{known} ({settings})" if settings else known for settings in differences]
    return list(labels)


def _varying(values: list[str]) -> list[str]:
    """The values, or nothing at all where they are all the same."""
    return values if len(set(values)) > 1 else [""] * len(values)


def _layers(value: Any) -> str:
    found = text(value) or ""
    return ", ".join(json.loads(found)) if found.startswith("[") else found


def _differences(column: pd.Series, leave_out: tuple[str, ...] = ()) -> list[str]:
    """For each JSON text the keys and values in which it differs from the others."""
    flat = [dict(_flatten(json.loads(text(value) or "{}"))) for value in column]
    keys = [key for key in in_order(k for of in flat for k in of) if key.split(" ")[0] not in leave_out]
    differ = [key for key in keys if len({json.dumps(of.get(key)) for of in flat}) > 1]
    return [", ".join(f"{key} {of[key]}" for key in differ if of.get(key) is not None) for of in flat]


def _flatten(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{key} ")
        else:
            yield f"{above}{key}", value
