"""A recorded trial to replay: its states, and some candidates of each of its layers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.engine import ExactEngine
from raprune.engine.workload import Baseline, Workload
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.results import TrialStore
from raprune.study import load_study

STUDY = Path(__file__).with_name("recorded_trial.yaml")


@dataclass(frozen=True)
class Layer:
    """What one layer's decision asked for."""

    layer: str
    state: State
    """Before the layer was cut."""
    masks: list[KeepMask]


@dataclass(frozen=True)
class Recorded:
    """A trial of ``benchmarks/recorded_trial.yaml``."""

    workload: Workload
    baseline_score: float
    drop_bound: float
    layers: list[Layer]

    @property
    def lowest(self) -> float:
        """The score at which psi is -1."""
        return self.baseline_score - 2 * self.drop_bound


def load(folder: Path, num_masks: int, states: bool = True) -> Recorded:
    """The recorded trial in a study's folder, ``num_masks`` distinct candidates a layer, evenly spread.

    Without ``states``, which take a fine-tune a layer to make again, every layer is in the untouched network.
    """
    trial = load_study(STUDY).trials[0]
    workload = Workload.of(trial, folder / "baselines" / trial.baseline_key)
    baseline = Baseline.read(folder / "baselines" / trial.baseline_key)
    if baseline is None or trial.drop_bound is None:
        raise SystemExit(f"{folder}: record the trial first: raprune study {STUDY} --out {folder}")
    store = TrialStore(folder, trial.study, trial.trial_id)
    engine = ExactEngine(workload)
    state, layers = State.baseline(trial.baseline_key), []
    for step, layer in enumerate(store.layer_rows()):
        asked = pq.read_table(store.folder / f"candidates-{step}.parquet")["keep_mask"].to_pylist()
        distinct = list(dict.fromkeys(tuple(mask) for mask in asked if not all(mask)))
        places = torch.linspace(0, len(distinct) - 1, min(num_masks, len(distinct))).round().int().tolist()
        layers.append(Layer(layer["layer"], state, [KeepMask(bytes(distinct[place])) for place in places]))
        if states:
            print(f"{layer['layer']} as recorded", file=sys.stderr, flush=True)
            state = _committed(engine, state, layer)
    return Recorded(workload, baseline.val_score, trial.drop_bound, layers)


def _committed(engine: ExactEngine, state: State, row: dict[str, object]) -> State:
    """The state that the trial went on with: fine-tuned, or as it was cut."""
    mask = KeepMask(bytes(row["keep_mask"]))
    if mask.keeps_all:
        return state
    cut = state.cut(engine.graph, str(row["layer"]), mask)
    tuned = engine.finetune(cut, "commit", cut.version)
    for found in (tuned, cut):
        if abs(engine.measure(found, "val") - float(str(row["finetuned_val_score"]))) < 1e-6:
            return found
    raise SystemExit(f"{row['layer']}: not the state that was recorded; record the trial again on this machine")
