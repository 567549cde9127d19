"""Recorded trials: each layer's candidates in the calls in which they were asked for, with scores and seconds.

``python -m benchmarks.simulator record STUDY`` keeps agents' trials of a study, run in one process, in one small table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raprune.network.masks import KeepMask
from raprune.plugins.scores.base import Scored, Tally
from raprune.results import read_study

FILE = Path(__file__).parents[1] / "data" / "recorded_trials.parquet"
SCHEMA = pa.schema(
    {
        "trial_id": pa.string(), "layer": pa.string(), "update": pa.int64(), "keep_mask": pa.list_(pa.bool_()),
        "score": pa.float64(), "images_scored": pa.int64(), "score_s": pa.float64(), "commit_s": pa.float64(),
    }
)  # fmt: skip
"""``commit_s``: what the layer took beside its candidates."""

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

    @property
    def num_candidates(self) -> int:
        return sum(map(len, self.calls))


@dataclass(frozen=True)
class Trial:
    """A recorded trial."""

    trial_id: str
    layers: tuple[Layer, ...]


def record(study: Path, file: Path = FILE) -> int:
    """Keep the agents' trials of a study that ran in one process; returns the number of candidates kept.

    Those that the memo answered are left out: they asked no evaluator.
    """
    tables = read_study(study, ["trial", "layers", "candidates"])
    agents = tables.trials[(tables.trials["method"] == "agent") & (tables.trials["status"] == "completed")]
    scored = tables.candidates[tables.candidates["trial_id"].isin(agents["trial_id"]) & ~tables.candidates["from_memo"]]
    spent = scored.groupby(["trial_id", "layer"], as_index=False)["score_s"].sum()
    took = tables.layers.merge(spent, on=["trial_id", "layer"])
    took = took.assign(commit_s=(took["wall_time_s"] - took["score_s"]).clip(lower=0.0))
    kept = scored.merge(took[["trial_id", "layer", "commit_s"]], on=["trial_id", "layer"])
    pq.write_table(pa.Table.from_pandas(kept, SCHEMA, preserve_index=False), file, compression="zstd")
    return len(kept)


def read(masks_per_call: int = 5, candidate_s: float = 0.0, file: Path = FILE) -> list[Trial]:
    """The recorded trials; with ``candidate_s`` all their times are scaled, so that a candidate takes so long on
    average.

    An update's masks are asked for together. Which others were is not recorded: ``masks_per_call`` at a time.
    """
    rows = pq.read_table(file).to_pylist()
    trials: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        trials.setdefault(row["trial_id"], {}).setdefault(row["layer"], []).append(row)
    found = [
        Trial(name, tuple(_layer(layer, own, masks_per_call) for layer, own in layers.items()))
        for name, layers in trials.items()
    ]
    factor = candidate_s / mean_s(found) if candidate_s else 1.0
    return [replace(trial, layers=tuple(_scaled(layer, factor) for layer in trial.layers)) for trial in found]


def mean_s(trials: Sequence[Trial]) -> float:
    """Mean seconds of a candidate on an evaluator that knows its state."""
    every = [scored.seconds for trial in trials for layer in trial.layers for scored in layer.scored.values()]
    return sum(every) / len(every)


def _layer(name: str, rows: Sequence[dict[str, Any]], masks_per_call: int) -> Layer:
    times = sorted(row["score_s"] for row in rows)
    usual, longest = times[len(times) // 2], times[-1]  # the longest met a state that nobody knew
    scored, calls = {}, []
    for row in rows:
        mask = KeepMask(bytes(row["keep_mask"]))
        seconds = usual if row["score_s"] == longest else row["score_s"]
        scored[mask.key] = Scored(row["score"], row["images_scored"], seconds, NO_TALLY)
        if (
            calls
            and calls[-1][0] == row["update"]
            and (row["update"] is not None or len(calls[-1][1]) < masks_per_call)
        ):
            calls[-1][1].append(mask)
        else:
            calls.append((row["update"], [mask]))
    return Layer(name, tuple(tuple(masks) for _, masks in calls), scored, longest - usual, rows[0]["commit_s"])


def _scaled(layer: Layer, factor: float) -> Layer:
    scored = {key: replace(found, seconds=found.seconds * factor) for key, found in layer.scored.items()}
    return replace(layer, scored=scored, first_s=layer.first_s * factor, commit_s=layer.commit_s * factor)
