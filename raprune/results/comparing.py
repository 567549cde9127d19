"""Compares two sides trial by trial: what one removes more than the other, and what it loses more.

Trials are paired where everything that varies on both sides agrees, the baseline included. Pairs of one baseline are
averaged first; intervals come from the baselines alone, because they are what was repeated independently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raprune.errors import InputError
from raprune.registry import nearest
from raprune.results.intervals import interval
from raprune.results.sides import DROPS, NONE, REMOVED, Side

NEEDED = (
    "model", "dataset", "score", "score_settings", "residual", "layers", "drop_bound", "score_floor", "guard",
    "validation images", "baseline_settings",
)  # fmt: skip
"""What two trials must have in common; where they have not, a difference between them has no meaning."""
BASELINE = "baseline_key"
BY = ("drop_bound", "score_floor")
"""What verdicts are given for one by one where nothing else is asked for."""


@dataclass(frozen=True)
class Differs:
    """Something that the sides have been asked to do differently."""

    what: str
    a: str
    b: str


@dataclass(frozen=True)
class Group:
    """The pairs of trials that share what verdicts are given by."""

    shared: dict[str, str]
    num_pairs: int
    num_baselines: int
    removed: tuple[float, float]
    """Mean share removed by each side, percent."""
    difference: float
    """Points that the first side removes more, mean over baselines."""
    lowest: float
    """Of its 95% interval; NaN for a single baseline."""
    highest: float
    drops: dict[str, tuple[float, float, float]]
    """Split -> points that the first side loses more, with the interval; splits that were measured on both sides."""
    num_candidates: tuple[float, float]
    """Mean of each side."""


@dataclass(frozen=True)
class Comparison:
    """Two sides compared."""

    on: str
    names: tuple[str, str]
    differs: list[Differs]
    obstacles: list[Differs]
    """Why the two are not comparable; then there are no groups."""
    groups: list[Group]
    num_unpaired: int
    """Trials, on both sides, without a partner."""


def compare(a: Side, b: Side, on: str = "macs", by: Sequence[str] = ()) -> Comparison:
    """Pair the trials of two sides and compare them ``on`` macs, params or filters, a group for each value of ``by``.

    Raises :class:`InputError` for a key that the pairs do not share, and for a side that varies in what differs.
    """
    if on not in REMOVED:
        raise InputError(f"a comparison is on {', '.join(REMOVED)}, not on {on!r}{nearest(on, list(REMOVED))}")
    if a.where & b.where:
        both = len(a.where & b.where)
        raise InputError(f"{both} of the trials are on both sides: choose sides that share none (--a, --b)")
    asked = [name for name in a.trials.columns if name not in (*REMOVED, *DROPS, "num_candidates")]
    values = {name: (_once(a.trials[name]), _once(b.trials[name])) for name in asked}
    apart = {name: pair for name, pair in values.items() if not set(pair[0]) & set(pair[1])}
    told = [_differs(name, *pair) for name, pair in apart.items()]
    differs = [found for found in told if found.what not in (*NEEDED, BASELINE)]
    obstacles = [found for found in told if found not in differs]
    names = _names(a, b, [] if obstacles else [found.what for found in differs])
    if obstacles:
        others = [found for found in obstacles if found.what != BASELINE]
        return Comparison(on, names, differs, others or obstacles, [], len(a.trials) + len(b.trials))
    _check_one({found.what: apart[found.what] for found in differs})
    common = {name: list(dict.fromkeys([*pair[0], *pair[1]])) for name, pair in values.items() if name not in apart}
    keys = [name for name, found in common.items() if len(found) > 1 or name == BASELINE]
    pairs, num_unpaired = _paired(a.trials, b.trials, keys)
    if pairs.empty:
        nothing = Differs(", ".join(keys), *["combinations that the other has not"] * 2)
        return Comparison(on, names, differs, [nothing], [], num_unpaired)
    return Comparison(on, names, differs, [], _groups(pairs, on, by, common), num_unpaired)


def _once(column: pd.Series) -> list[str]:
    return list(dict.fromkeys(column))


def _check_one(differing: Mapping[str, tuple[list[str], list[str]]]) -> None:
    """Raise where a side has several values of what differs: a mean over them would hide them."""
    for name, pair in differing.items():
        for side, found in zip("ab", pair, strict=True):
            if len(found) > 1:
                raise InputError(
                    f"side {side} has {len(found)} values of {name} ({', '.join(found)}), none of them on the other "
                    f"side: choose one with --{side} KEY=VALUE"
                )


def _paired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, int]:
    """A row per pair of equal ``keys``, repetitions on one baseline averaged; and how many trials have no partner."""
    measured = [*REMOVED, *DROPS, "num_candidates"]
    means = [side.groupby(keys, sort=False)[measured].mean().reset_index() for side in (a, b)]
    pairs = means[0].merge(means[1], on=keys, suffixes=("_a", "_b"))
    known = set(pairs[keys].itertuples(index=False, name=None))
    alone = [row not in known for side in (a, b) for row in side[keys].itertuples(index=False, name=None)]
    return pairs, sum(alone)


def _groups(pairs: pd.DataFrame, on: str, by: Sequence[str], common: Mapping[str, list[str]]) -> list[Group]:
    for key in by:
        if key not in common:
            raise InputError(f"the sides share no {key!r} to give verdicts by{nearest(key, list(common))}")
    named = list(by) or [name for name in BY if common[name] != [NONE]]
    pairs = pairs.assign(**{name: found[0] for name, found in common.items() if name not in pairs.columns})
    if not named:
        return [_group(pairs, on, named)]
    return [_group(part, on, named) for _, part in pairs.groupby(named, sort=False)]


def _group(part: pd.DataFrame, on: str, named: Sequence[str]) -> Group:
    def difference(column: str) -> tuple[float, float, float]:
        gaps = (part[f"{column}_a"] - part[f"{column}_b"]).groupby(part[BASELINE]).mean().dropna().to_numpy()
        return float(np.mean(gaps)) if len(gaps) else float("nan"), *interval(gaps)

    mean, lowest, highest = difference(on)
    return Group(
        shared={name: str(part[name].iloc[0]) for name in named},
        num_pairs=len(part),
        num_baselines=part[BASELINE].nunique(),
        removed=(float(part[f"{on}_a"].mean()), float(part[f"{on}_b"].mean())),
        difference=mean,
        lowest=lowest,
        highest=highest,
        drops={split: drop for split in DROPS if not np.isnan((drop := difference(split))[0])},
        num_candidates=(float(part["num_candidates_a"].mean()), float(part["num_candidates_b"].mean())),
    )


def _names(a: Side, b: Side, what: list[str]) -> tuple[str, str]:
    """What each side is called: by what differs, or by its study where nothing does."""
    shown = ["method", "decision"] if {"method", "decision"} & set(what) else what[:1]
    lead = "" if "method" in shown else f"{shown[0].replace('_', ' ')} " if shown else ""
    names = []
    for side in (a, b):
        values = [_once(side.trials[name]) for name in shown]
        parts = [_name(found[0]) for found in values if len(found) == 1]
        if set(side.trials["acceptance"]) == {"as matched"} and "method" in shown:
            parts = [f"{parts[0]} (matched)"]
        names.append(lead + " + ".join(parts) if any(parts) else side.study)
    return (names[0], names[1]) if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")


def _differs(what: str, a: list[str], b: list[str]) -> Differs:
    """What differs, without the settings that are alike."""
    names = [list(dict.fromkeys(map(_name, side))) for side in (a, b)]
    if names[0] != names[1]:
        return Differs(what, *map(", ".join, names))
    settings = [json.loads(side[0][len(name[0]) :] or "{}") for side, name in zip((a, b), names, strict=True)]
    keys = [key for key in {**settings[0], **settings[1]} if settings[0].get(key) != settings[1].get(key)]
    texts = [", ".join(f"{key} {json.dumps(own.get(key))}" for key in keys) for own in settings]
    return Differs(what, *texts)


def _name(value: str) -> str:
    """A plug-in's name, without its settings; nothing of what is only settings."""
    return value[: value.find("{")].strip() if value.endswith("}") else value
