"""What a trial's low-rank step scores and fine-tunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from raprune.network.lowrank import Surveyed, survey
from raprune.network.sizes import Sizes
from raprune.plugins.methods.search import bisection_steps
from raprune.study import TrialSpec
from raprune.study.postprocess import RULES, LowRankSpec


@dataclass(frozen=True)
class LowRankWork:
    """Of one trial."""

    layers: tuple[int, int]
    """Fewest and most that are tried."""
    scores: float
    """States scored a layer, on average."""
    finetunes: bool


def low_rank_work(trial: TrialSpec, sizes: Sizes) -> LowRankWork | None:
    """``None`` for a trial without the step."""
    spec = trial.postprocess.low_rank
    if spec is None:
        return None
    network = sizes.traced.network
    assert isinstance(network, fx.GraphModule)
    able = [one for one in survey(network, spec.schemes, sizes.input_shape) if one.costs and one.costs.max_rank]
    scores = _scores(spec, able, trial.matched_trial_id is not None)
    return LowRankWork(_tried(spec, able, sizes), scores, spec.finetune)


def _tried(spec: LowRankSpec, able: Sequence[Surveyed], sizes: Sizes) -> tuple[int, int]:
    """Where layers that stayed whole are tried: those that cannot be pruned in any case, the others perhaps."""
    if isinstance(spec.layers, list):
        return (number := sum(one.layer in spec.layers for one in able)), number
    pruned = {member.layer for group in sizes.graph.groups.values() for member in group.members}
    fewest = len(able) if spec.layers == "all" else sum(one.layer not in pruned for one in able)
    return fewest, len(able)


def _scores(spec: LowRankSpec, able: Sequence[Surveyed], matched: bool) -> float:
    """A rank that is searched is bisected."""
    if matched or not able or any(getattr(spec, rule) is not None for rule in RULES):
        return 1.0
    return sum(1 + bisection_steps(one.costs.max_rank) for one in able if one.costs) / len(able)
