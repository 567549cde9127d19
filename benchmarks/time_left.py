"""How well a study knows how long it will still take: ended studies, replayed layer by layer.

``python benchmarks/time_left.py RESULTS...`` replays the studies in these folders, by when their files were written;
``record RESULTS FILE`` keeps what a replay needs. Folders must not have been copied without their times. Without
arguments the records in ``benchmarks/data/`` are replayed; tests/console/test_time_left.py holds them to the same.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.console.trials import TrialProgress, time_left
from raprune.results import read_study

DATA = Path(__file__).parent / "data"
SMALL_S = 2.0
"""An estimate that is off by at most this is right, too: at its end a study lasts less than a layer."""


@dataclass(frozen=True)
class Moment:
    """An estimate, in seconds since the study began."""

    at_s: float
    left_s: float
    true_s: float

    @property
    def is_within(self) -> bool:
        """Whether what is left is known within a factor of two."""
        ok = self.true_s / 2 <= self.left_s <= self.true_s * 2
        return ok or abs(self.left_s - self.true_s) <= SMALL_S


def recorded(folder: Path) -> dict[str, Any]:
    """The trials of an ended study, and when each layer and joint pass was committed and each trial ended.

    Passes are steps after the layers.
    """
    tables = read_study(folder)
    began = (folder / "manifest.json").stat().st_mtime
    spent = tables.candidates.groupby(["trial_id", "layer"])["score_s"].agg(["size", "sum"])
    trials, events = {}, []
    for row in tables.trials.to_dict("records"):
        place, name = folder / "trials" / row["trial_id"], str(row["trial_id"])
        rows = tables.layers[tables.layers["trial_id"] == name].sort_values("prune_step")
        asked, seconds = {}, {}
        for layer in rows["layer"]:
            found = spent.loc[(name, layer)] if (name, layer) in spent.index else {"size": 0, "sum": 0.0}
            asked[layer], seconds[layer] = int(found["size"]), float(found["sum"])
        passes = json.loads(row["postprocess_settings"] or "{}").get("joint") or {"passes": 0}
        trials[name] = [sum(asked.values()), len(rows), isinstance(row["matched_trial_id"], str), passes["passes"]]
        for step, (layer, wall_s) in enumerate(zip(rows["layer"], rows["wall_time_s"], strict=True)):
            at_s = (place / f"layers-{step}.parquet").stat().st_mtime - began
            searched_s = min(0.8 * wall_s, seconds[layer])
            events.append([round(at_s, 2), name, step + 1, round(wall_s, 3), round(searched_s, 3)])
        for number, wall_s in enumerate(tables.joint.query("trial_id == @name")["wall_time_s"]):
            at_s = (place / f"joint-{number}.parquet").stat().st_mtime - began
            events.append([round(at_s, 2), name, len(rows) + number + 1, round(wall_s, 3), 0.0])
        events.append([round((place / "trial.parquet").stat().st_mtime - began, 2), name, 0, 0.0, 0.0])
    return {"trials": trials, "events": sorted(events)}


def replay(record: dict[str, Any]) -> list[Moment]:
    """What would have been said at each event; at the first ones, nothing."""
    events, moments = record["events"], []
    trials = {name: TrialProgress(name, *about[:3], passes=sum(about[3:])) for name, about in record["trials"].items()}
    end = events[-1][0]
    since = last = events[0][0] - events[0][3]
    for now, name, step, wall_s, searched_s in events:
        trial = trials[name]
        if trial.started is None:
            trial.started = last if not any(t.status == "running" for t in trials.values()) else now - wall_s
            trial.status = "running"
        if step > trial.num_layers:
            trial.passes_done = step - trial.num_layers
        elif step:
            trial.layers_done = step
            trial.searched_s += searched_s
            trial.committed_s += wall_s - searched_s
        else:
            trial.status, trial.ended, last = "completed", now, now
        left_s = time_left(trials.values(), since, now)
        if left_s is not None and now < end:
            moments.append(Moment(now, left_s, end - now))
    return moments


def share_within(moments: list[Moment]) -> float:
    """Share of the moments at which the time left was known within a factor of two."""
    return sum(moment.is_within for moment in moments) / len(moments)


def show(name: str, record: dict[str, Any]) -> None:
    moments = replay(record)
    total = record["events"][-1][0]
    off = [(m.at_s + m.left_s) / total for m in moments]
    print(
        f"{name}: {len(record['trials'])} trials, {total:.0f} s; time left within a factor of two at "
        f"{share_within(moments):.1%} of {len(moments)} moments; total predicted {min(off):.2f} to {max(off):.2f} "
        "times the true one"
    )
    for share in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9):
        moment = next((m for m in moments if m.at_s >= share * total), moments[-1])
        print(f"  after {moment.at_s / total:4.0%}: {moment.left_s:5.0f} s left; true: {moment.true_s:5.0f} s")


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["record"]:
        Path(words[2]).write_text(json.dumps(recorded(Path(words[1])), separators=(",", ":")) + "\n")
        return
    for folder in words:
        show(folder, recorded(Path(folder)))
    for file in sorted(DATA.glob("time_left_*.json")) if not words else ():
        show(file.stem, json.loads(file.read_text()))


if __name__ == "__main__":
    main()
