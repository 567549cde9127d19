"""A trial's work in one possible course of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raprune.plugins.methods.base import Asked
from raprune.preflight.estimate.draws import Draw
from raprune.preflight.estimate.low_rank import LowRankWork
from raprune.preflight.estimate.own import Own
from raprune.preflight.estimate.schedule import Work
from raprune.preflight.estimate.timing import Costs


@dataclass(frozen=True)
class Shape:
    """What does not vary of a trial: its layers, its method's numbers, and what things cost."""

    costs: Costs
    layers: tuple[str, ...]
    """All prunable ones, low to high."""
    order: tuple[str, ...]
    """Those that it decides, in turn."""
    asked: Mapping[str, Asked]
    """Layer -> what its method asks for; empty for a matched trial, which asks for nothing."""
    own: Mapping[str, Own]
    """Timed layer -> what the trial does itself."""
    ends_s: float
    """Its own work at its begin and end."""
    num_ordered: int
    """Masks scored to find the order."""
    hopeless: float
    """Share of the images after which a hopeless candidate is given up."""
    pays_finetuned: bool
    """Whether it is the one that fine-tunes the baseline alike, for all trials of its kind."""
    has_pictures: bool
    low_rank: LowRankWork | None = None


@dataclass
class _Sum:
    """Seconds, calls and candidates so far; see :class:`raprune.preflight.estimate.schedule.Work`."""

    update_s: float = 0.0
    search_s: float = 0.0
    commit_s: float = 0.0
    own_s: float = 0.0
    calls: float = 0.0
    candidates: float = 0.0


def work_of(shape: Shape, draw: Draw) -> Work:
    """The seconds and candidates of a trial."""
    total = _Sum(own_s=shape.ends_s)
    halvings = math.log(1 - draw.pruned) / math.log(0.5)  # of all filters, at the end
    for step, layer in enumerate(shape.order):
        own = _own(shape, layer)
        if layer in shape.asked:
            factor = shape.costs.half_pruned(layer, shape.order) ** halvings if step else 1.0
            _decide(total, shape, draw, layer, factor, own)
        fewer = shape.costs.pruned_step ** (halvings * step / len(shape.order))
        _commit(total, shape, draw, fewer, matched=layer not in shape.asked)
        total.own_s += own.commit_s
    _low_rank(total, shape, draw)
    _end(total, shape, shape.costs.pruned_step**halvings)
    masks = max((asked.masks_per_update for asked in shape.asked.values()), default=1)
    update_s, search_s, commit_s, own_s = (
        seconds * draw.speed for seconds in (total.update_s, total.search_s, total.commit_s, total.own_s)
    )
    return Work(update_s, search_s, commit_s, own_s, total.calls, masks, total.candidates)


def _decide(total: _Sum, shape: Shape, draw: Draw, layer: str, factor: float, own: Own) -> None:
    """The candidates of one layer; ``factor`` is what they cost after the pruning of the layers before."""
    asked, cost = shape.asked[layer], shape.costs.mask(layer, shape.layers)
    mask_s = cost.candidate_s(_batches(shape, draw)) * factor * (1 - draw.known)
    updates = asked.updates[0] + draw.updates * (asked.updates[1] - asked.updates[0])
    searched = draw.between(asked.searched)
    total.update_s += updates * asked.masks_per_update * mask_s * cost.together
    total.search_s += searched * mask_s
    total.commit_s += cost.cold_s * factor
    total.own_s += own.start_s + updates * own.update_s + searched * own.search_s
    total.calls += updates + searched
    total.candidates += updates * asked.masks_per_update + searched


def _commit(total: _Sum, shape: Shape, draw: Draw, factor: float, *, matched: bool) -> None:
    """A matched layer is tried once, and its score as cut is not known."""
    costs, tries = shape.costs, min(1.0, draw.tries) if matched else draw.tries
    total.commit_s += tries * (_finetune_s(costs, costs.steps.commit, factor) + (1 + matched) * costs.val_s)
    total.calls += tries * (2 + matched)


def _low_rank(total: _Sum, shape: Shape, draw: Draw) -> None:
    if shape.low_rank is None:
        return
    costs, tried = shape.costs, draw.between(shape.low_rank.layers)
    finetune_s = _finetune_s(costs, costs.steps.commit, 1.0) + costs.val_s if shape.low_rank.finetunes else 0.0
    total.commit_s += tried * (shape.low_rank.scores * costs.val_s + finetune_s)
    total.calls += tried * (shape.low_rank.scores + 1 + 2 * shape.low_rank.finetunes)


def _end(total: _Sum, shape: Shape, factor: float) -> None:
    """The final fine-tune, test, pictures, and what is found once for many trials."""
    costs = shape.costs
    total.commit_s += _finetune_s(costs, costs.steps.final, factor) + costs.val_s * (costs.steps.final > 0)
    total.commit_s += costs.test_s + 2 * costs.val_s * shape.has_pictures
    total.calls += 4
    if shape.pays_finetuned:
        total.commit_s += _finetune_s(costs, costs.steps.commit, 1.0) * len(shape.order)
        total.commit_s += _finetune_s(costs, costs.steps.final, 1.0) + costs.val_s
    if shape.num_ordered:
        middle = costs.mask(shape.layers[len(shape.layers) // 2], shape.layers)
        total.commit_s += shape.num_ordered * middle.candidate_s(costs.val_batches) + middle.cold_s * len(shape.order)
        total.calls += shape.num_ordered


def _batches(shape: Shape, draw: Draw) -> float:
    """Batches of images that a candidate sees, on average."""
    costs = shape.costs
    if not costs.gives_up:
        return costs.val_batches
    share = draw.seen_whole + (1 - draw.seen_whole) * shape.hopeless
    return max(1.0, share * costs.val_batches)


def _finetune_s(costs: Costs, num_steps: int, factor: float) -> float:
    return costs.finetune_s + num_steps * costs.step_s * factor if num_steps else 0.0


def _own(shape: Shape, layer: str) -> Own:
    """Of any layer, between the nearest timed ones."""
    places = [shape.layers.index(timed) for timed in shape.own]
    order: Sequence[int] = sorted(range(len(places)), key=places.__getitem__)
    found = list(shape.own.values())
    at = shape.layers.index(layer)

    def value(name: str) -> float:
        return float(np.interp(at, [places[i] for i in order], [getattr(found[i], name) for i in order]))

    return Own(
        value("start_s"), value("update_s"), value("search_s"), value("commit_s"), value("candidate_bytes"),
        round(value("agent_bytes")),
    )  # fmt: skip


def results_bytes(shape: Shape, work: Work, model_bytes: int) -> float:
    """What a trial leaves: rows and memo, agents, the last state and the network (both as large as the baseline, at
    most)."""
    owns = [_own(shape, layer) for layer in shape.order]
    a_candidate = sum(own.candidate_bytes for own in owns) / len(owns)
    agents = sum(own.agent_bytes for own in owns) if shape.asked else 0
    states = 2 if shape.costs.steps.commit or shape.costs.steps.final else 1
    return work.num_candidates * a_candidate + agents + states * model_bytes
