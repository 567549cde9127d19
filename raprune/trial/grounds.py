"""What a trial stands on before its first layer: the baseline as a graph, and the conditions of every commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from raprune.engine.workload import Baseline
from raprune.errors import RapruneError
from raprune.network.graph import Graph
from raprune.network.sizes import Sizes
from raprune.registry import REWARDS
from raprune.study.schema import TrialSpec
from raprune.trial.asked import build_method
from raprune.trial.candidates import Scale
from raprune.trial.context import TrialContext
from raprune.trial.guard import Guard
from raprune.trial.within_bound import Contract


@dataclass(frozen=True)
class Grounds:
    """Of one trial."""

    graph: Graph
    weights: Mapping[str, Tensor]
    """The baseline's."""
    layers: list[str]
    """The layers to be decided, from low to high."""
    sizes: Sizes
    contract: Contract
    """Without a guard, which depends on what was committed before: see :func:`guard_after`."""


def grounds_of(trial: TrialSpec, context: TrialContext) -> Grounds:
    """Loads the baseline; sets the threads that the trial computes with."""
    torch.set_num_threads(trial.scoring.threads)
    baseline = context.baseline
    traced = context.workload.load_network(context.inputs, baseline.num_classes, baseline.input_shape)
    weights = {name: t.clone() for name, t in traced.network.state_dict().items()}
    layers = traced.graph.arrange(trial.layers_among(traced.graph.groups))
    reward = REWARDS.build(trial.reward.name, trial.reward.settings)
    scale = Scale(baseline.val_score, drop_bound(trial, baseline), reward)
    trains = trial.finetune.before_reward.num_steps(1) > 0
    refit = build_method(trial).refit
    contract = Contract(context.evaluator, traced.graph, scale, trial.fidelity, trains, weights, refit=refit)
    return Grounds(traced.graph, weights, layers, Sizes(traced, weights, baseline.input_shape), contract)


def guard_after(trial: TrialSpec, context: TrialContext, rows: Iterable[Mapping[str, Any]]) -> Guard:
    """The guard of a trial after what it has committed: ``rows`` of its layers, joint passes and low-rank step."""
    return Guard.resumed(context.evaluator, context.baseline.num_val_images, trial.warranty, rows)


def drop_bound(trial: TrialSpec, baseline: Baseline) -> float:
    """The bound in points, from the study's bound or score floor; raises :class:`RapruneError` if it is too small."""
    bound = trial.drop_bound
    if bound is None:
        bound = baseline.val_score - cast(float, trial.score_floor)
    if bound <= 0 or bound < baseline.quantum:
        raise RapruneError(
            f"a drop bound of {bound:.3g} points is worth less than one of {baseline.num_val_images} validation images"
        )
    return bound
