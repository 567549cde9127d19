"""Recorded trials: each layer's candidates in the calls in which they were asked for, with scores and seconds.

``python -m benchmarks.simulator record STUDY`` keeps agents' trials of a study, run in one process, in one small table.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raprune.network.masks import KeepMask
from raprune.plugins.schedulers.base import Standing
from raprune.plugins.scores.base import Scored, Tally
from raprune.registry import DECISIONS
from raprune.results import Tables, read_study

FILE = Path(__file__).parents[1] / "data" / "recorded_trials.parquet"
SCHEMA = pa.schema(
    {
        "trial_id": pa.string(), "layer": pa.string(), "update": pa.int64(), "keep_mask": pa.list_(pa.bool_()),
        "score": pa.float64(), "images_scored": pa.int64(), "score_s": pa.float64(), "commit_s": pa.float64(),
        "macs": pa.int64(), "drop": pa.float64(), "baseline_key": pa.string(), "about": pa.string(),
        "call": pa.int64(),
    }
)  # fmt: skip
"""``commit_s``: what the layer took beside its candidates. ``macs`` and ``drop``: of the network after it.
``call``: the number of the call in the layer; those of one were asked for together."""

MOST = 2**31
NO_TALLY = Tally([], [], 0, 0.0, True)


@dataclass(frozen=True)
class Layer:
    """The decision of one layer."""

    name: str
    calls: tuple[tuple[KeepMask, ...], ...]
    """Masks that were asked for together."""
    scored: dict[bytes, Scored] = field(repr=False)
    """Key of a mask -> its result, with the seconds it takes an evaluator that knows the state."""
    first_s: float
    """What an evaluator takes more for the first candidate of a state."""
    commit_s: float
    standing: Standing | None = None
    """Where its trial stands after it; ``None`` where that was not recorded."""

    @property
    def num_candidates(self) -> int:
        return sum(map(len, self.calls))


@dataclass(frozen=True)
class Trial:
    """A recorded trial."""

    trial_id: str
    layers: tuple[Layer, ...]
    baseline_key: str = ""
    about: str = ""
    """Its values on the study's axes."""


def record(study: Path, file: Path = FILE, methods: Sequence[str] = ("agent",)) -> int:
    """Keep the completed trials of a study that ran in one process; returns the number of candidates kept.

    Those that the memo answered are left out: they asked no evaluator; and so are joint passes. Raises
    :class:`SystemExit` where the study does not serve, and leaves the ``file`` as it is.
    """
    tables = read_study(study, ["trial", "layers", "candidates"])
    wanted = tables.trials[tables.trials["method"].isin(methods) & (tables.trials["status"] == "completed")]
    _check(wanted, tables, f"{study} cannot be recorded", methods)
    scored = tables.candidates[tables.candidates["trial_id"].isin(wanted["trial_id"])].reset_index(drop=True)
    stages = {row["trial_id"]: _at_once(row) for _, row in wanted.iterrows()}
    for (name, _), part in scored.groupby(["trial_id", "layer"]):
        scored.loc[part.index, "call"] = _calls(part["update"].tolist(), stages[name])
    scored = scored[~scored["from_memo"]]
    spent = scored.groupby(["trial_id", "layer"], as_index=False)["score_s"].sum()
    took = tables.layers.merge(spent, on=["trial_id", "layer"])
    took = took.assign(commit_s=(took["wall_time_s"] - took["score_s"]).clip(lower=0.0))
    took = took.merge(wanted[["trial_id", "baseline_key", "baseline_val_score"]], on="trial_id")
    took = took.assign(drop=took["baseline_val_score"] - took["finetuned_val_score"])
    axes = tables.manifest["axes"]
    took["about"] = [", ".join(f"{axis} {value}" for axis, value in axes[name].items()) for name in took["trial_id"]]
    added = ["trial_id", "layer", "commit_s", "macs", "drop", "baseline_key", "about"]
    kept = scored.merge(took[added], on=["trial_id", "layer"])
    place = {name: number for number, name in enumerate(tables.manifest["trial_ids"])}
    kept = kept.sort_values("trial_id", key=lambda names: names.map(place), kind="stable")
    pq.write_table(pa.Table.from_pandas(kept, SCHEMA, preserve_index=False), file, compression="zstd")
    return len(kept)


def _check(wanted: pd.DataFrame, tables: Tables, what: str, methods: Sequence[str]) -> None:
    if wanted.empty:
        raise SystemExit(f"{what}: it has no completed trial of {' or '.join(methods)}")
    if (wanted["evaluators"] != 0).any():
        raise SystemExit(f"{what}: its evaluators disturbed each other's times; run it with --evaluators 0")
    asked = tables.candidates[~tables.candidates["from_memo"]].groupby("trial_id")["layer"].agg(set)
    for name, layers in tables.layers[tables.layers["trial_id"].isin(wanted["trial_id"])].groupby("trial_id")["layer"]:
        if known := set(layers) - asked.get(name, set()):
            lost = ", ".join(sorted(known))
            raise SystemExit(
                f"{what}: no evaluator was asked for {lost} of trial {name}, which would lack these layers"
            )


def _at_once(trial: Mapping[str, Any]) -> int:
    return DECISIONS.build(trial["decision"], json.loads(trial["decision_settings"])).at_once


def _calls(updates: Sequence[float | None], at_once: int) -> list[int]:
    """The number of each candidate's call: those of an update are one, those of the decision ``at_once`` each."""
    numbers: list[int] = []
    for update, same in itertools.groupby(updates, key=lambda update: None if pd.isna(update) else update):
        size, first = (at_once if update is None else MOST), numbers[-1] + 1 if numbers else 0
        numbers += [first + place // size for place, _ in enumerate(same)]
    return numbers


def read(
    masks: int | None = 5, candidate_s: float = 0.0, commit_s: float | None = None, file: Path = FILE
) -> list[Trial]:
    """The recorded trials, with ``masks`` asked for at once, or as many as were.

    With ``candidate_s`` all times are scaled, so that a candidate takes so long on average. ``commit_s`` is what every
    commit takes then, in place of the recorded ones.
    """
    trials: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in pq.read_table(file).to_pylist():
        trials.setdefault(row["trial_id"], {}).setdefault(row["layer"], []).append(row)
    found = [
        Trial(name, tuple(_layer(layer, own, masks) for layer, own in layers.items()), *_named(layers))
        for name, layers in trials.items()
    ]
    factor = candidate_s / mean_s(found) if candidate_s else 1.0
    return [replace(trial, layers=tuple(_scaled(layer, factor, commit_s) for layer in trial.layers)) for trial in found]


def made_up(masks: int, candidate_s: float) -> list[Trial]:
    """A trial of one endless layer without commits, all of whose candidates take as long, as a yardstick."""
    keys = [KeepMask(bytes(map(int, f"{number:012b}1"))) for number in range(masks)]
    scored = {mask.key: Scored(None, 1, candidate_s, NO_TALLY) for mask in keys}
    return [Trial("made up", (Layer("layer", (tuple(keys),) * 1000, scored, 0.0, 0.0),))]


def mean_s(trials: Sequence[Trial]) -> float:
    """Mean seconds of a candidate on an evaluator that knows its state."""
    every = [scored.seconds for trial in trials for layer in trial.layers for scored in layer.scored.values()]
    return sum(every) / len(every)


def _named(layers: dict[str, list[dict[str, Any]]]) -> tuple[str, str]:
    row = next(iter(layers.values()))[0]
    return row.get("baseline_key") or "", row.get("about") or ""


def _layer(name: str, rows: Sequence[dict[str, Any]], masks: int | None) -> Layer:
    times = sorted(row["score_s"] for row in rows)
    usual, longest = times[len(times) // 2], times[-1]  # the longest met a state that nobody knew
    keys = [KeepMask(bytes(row["keep_mask"])) for row in rows]
    scored = {
        mask.key: Scored(
            row["score"], row["images_scored"], usual if row["score_s"] == longest else row["score_s"], NO_TALLY
        )
        for mask, row in zip(keys, rows, strict=True)
    }
    numbers = [row["call"] if masks is None else place // masks for place, row in enumerate(rows)]
    together = itertools.groupby(zip(numbers, keys, strict=True), key=lambda pair: pair[0])
    calls = tuple(tuple(key for _, key in call) for _, call in together)
    macs, drop = rows[0].get("macs"), rows[0].get("drop")
    standing = None if macs is None or drop is None else Standing(macs, drop)
    return Layer(name, calls, scored, longest - usual, rows[0]["commit_s"], standing)


def _scaled(layer: Layer, factor: float, commit_s: float | None) -> Layer:
    scored = {key: replace(found, seconds=found.seconds * factor) for key, found in layer.scored.items()}
    commit_s = layer.commit_s * factor if commit_s is None else commit_s
    return replace(layer, scored=scored, first_s=layer.first_s * factor, commit_s=commit_s)
