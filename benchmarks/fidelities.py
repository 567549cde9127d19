"""What each named fidelity saves, and what it does to the ranking: ``python benchmarks/fidelities.py [--masks N]``.

First record the masks: ``raprune study benchmarks/fidelities.yaml --out results/fidelities``. They are replayed layer
by layer in the untouched network, with 20 fine-tune steps before the reward: once in full, once at each fidelity.

- tau: Kendall's rank correlation of the rewards with the full ones, over the masks of a layer; mean over the layers.
- score regret: points of full score that the mask of highest reward loses to the one of highest full reward.
- ratio regret: pruning ratio that a layer loses to what full scores would commit. As in a trial, the masks that are
  within the bound at the fidelity are tried from the smallest on until one is within it in full; else all is kept.
- time: processor seconds of all candidates in full over those at the fidelity, both with early exit at psi -1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from scipy.stats import kendalltau

from raprune.engine import Engine, open_engine
from raprune.engine.workload import Baseline, Workload
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.registry import REWARDS
from raprune.results import TrialStore
from raprune.study import load_study
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec, FinetuneLength
from raprune.trial.candidates import Scale

STUDY = Path(__file__).with_name("fidelities.yaml")
FIDELITIES: Sequence[dict[str, Any] | None] = (
    {"val_images": 125},
    {"finetune_steps": 5},
    {"finetune": "suffix"},
    {"finetune": "suffix", "finetune_steps": 5},
    {"finetune": "recalibrate"},
    {"finetune": "recalibrate", "recalibration_batches": 2},
    {"finetune": "recalibrate", "recalibration_batches": 2, "precision": "bfloat16"},
    {"racing": 2.0},
    {"finetune": "suffix", "val_images": 250, "racing": 2.0},
    None,
)
"""``None`` is no fine-tune at all before the reward."""
STEPS = 20


@dataclass(frozen=True)
class Replayed:
    """One layer's masks at one fidelity."""

    scores: list[float | None]
    rewards: list[float]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path("results/fidelities"))
    parser.add_argument("--masks", type=int, default=10, help="of each layer, evenly spread over what was recorded")
    arguments = parser.parse_args()
    trial = load_study(STUDY).trials[0]
    folder = arguments.results / "baselines" / trial.baseline_key
    baseline = Baseline.read(folder)
    if baseline is None or trial.drop_bound is None:
        raise SystemExit(f"{folder}: record the masks first: raprune study {STUDY} --out {arguments.results}")
    finetune = trial.finetune.model_copy(update={"before_reward": FinetuneLength(steps=STEPS)})
    workload = replace(Workload.of(trial, folder), finetune=finetune)
    scale = Scale(baseline.val_score, trial.drop_bound, REWARDS.build(trial.reward.name, trial.reward.settings))
    masks = recorded(TrialStore(arguments.results, trial.study, trial.trial_id), arguments.masks)
    whole_engine = engine_of(workload, {})
    full = {layer: replay(whole_engine, layer, some, scale) for layer, some in masks.items()}
    seconds = sum(found.seconds for found in full.values())
    print(f"{sum(map(len, masks.values()))} masks of {', '.join(masks)}; in full {seconds:.1f} s, {STEPS} steps each")
    print(f"{'fidelity':52s}{'tau':>6s}{'by layer':>20s}{'score regret':>14s}{'ratio regret':>14s}{'time':>8s}")
    for fidelity in FIDELITIES:
        engine = engine_of(workload, fidelity)
        found = {layer: replay(engine, layer, some, scale) for layer, some in masks.items()}
        taus = [float(kendalltau(found[layer].rewards, full[layer].rewards).statistic) for layer in masks]
        behind = [score_regret(whole_engine, layer, masks[layer], full[layer], found[layer]) for layer in masks]
        ratios = [
            committed(some, full[layer], full[layer], scale) - committed(some, found[layer], full[layer], scale)
            for layer, some in masks.items()
        ]
        name = "forward only" if fidelity is None else FidelitySpec(**fidelity).name(f"finetune={STEPS} steps")
        saved = seconds / sum(of_layer.seconds for of_layer in found.values())
        print(
            f"{name:52s}{statistics.fmean(taus):6.2f}{' '.join(f'{tau:.2f}' for tau in taus):>20s}"
            f"{statistics.fmean(behind):14.2f}{statistics.fmean(ratios):14.3f}{saved:7.2f}x",
            flush=True,
        )


def engine_of(workload: Workload, fidelity: dict[str, Any] | None) -> Engine:
    if fidelity is None:
        none = workload.finetune.model_copy(update={"before_reward": FinetuneLength(steps=0)})
        return open_engine(replace(workload, finetune=none), "cpu", EvaluatorsSpec())
    return open_engine(replace(workload, fidelity=FidelitySpec(**fidelity)), "cpu", EvaluatorsSpec())


def recorded(store: TrialStore, number: int) -> dict[str, list[KeepMask]]:
    """``number`` distinct masks of each layer."""
    found = {}
    for step, row in enumerate(store.layer_rows()):
        asked = pq.read_table(store.folder / f"candidates-{step}.parquet")["keep_mask"].to_pylist()
        distinct = list(dict.fromkeys(tuple(mask) for mask in asked if not all(mask)))
        places = torch.linspace(0, len(distinct) - 1, min(number, len(distinct))).round().int().tolist()
        found[row["layer"]] = [KeepMask(bytes(distinct[place])) for place in places]
    return found


def replay(engine: Engine, layer: str, masks: list[KeepMask], scale: Scale) -> Replayed:
    """Scores as a trial would get them; what is done once for a state counts."""
    state, began = State.baseline(engine.workload.baseline_key), time.process_time()
    scores = [engine.evaluate(state, layer, mask, scale.lowest).score for mask in masks]
    seconds = time.process_time() - began
    return Replayed(scores, [scale.evaluation(s, m).reward for s, m in zip(scores, masks, strict=True)], seconds)


def score_regret(engine: Engine, layer: str, masks: list[KeepMask], full: Replayed, found: Replayed) -> float:
    """Points, in full, between the masks of the highest reward."""
    best, chosen = (max(range(len(masks)), key=of.rewards.__getitem__) for of in (full, found))
    state = State.baseline(engine.workload.baseline_key)
    known = (full.scores[place] for place in (best, chosen))
    pairs = zip(known, (best, chosen), strict=True)
    scores = [engine.evaluate(state, layer, masks[p], None).score if score is None else score for score, p in pairs]
    return (scores[0] or 0.0) - (scores[1] or 0.0)


def committed(masks: list[KeepMask], found: Replayed, full: Replayed, scale: Scale) -> float:
    """The pruning ratio of the smallest mask within the bound by ``found`` that is so in full; 0 for none."""
    pairs = zip(found.scores, full.scores, strict=True)
    within = [scale.feasible(mine) and scale.feasible(real) for mine, real in pairs]
    return max((mask.pruning_ratio for mask, good in zip(masks, within, strict=True) if good), default=0.0)


if __name__ == "__main__":
    main()
