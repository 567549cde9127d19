"""The drop-bound contract: which state a layer is committed as.

A state is committed only if its drop on the full validation split, at full fidelity, is within the bound. The first
choice is the decided mask after the committed fine-tune; then the candidate as it was scored, but at full fidelity;
then the next best feasible masks in the same way; otherwise the layer stays whole. Where candidates were scored
approximately, a large error for one mask also affects its neighbours, so the feasible masks are bisected instead, from
the one that prunes most to the one that prunes least; so they are where candidates may exceed the bound (``credit``).

Where the study has a guard (``guard.py``), the bound must hold on it, too: a mask whose weights are within the bound on
val is shown to it, ``MAX_LOOKS`` masks at most. Where masks are bisected, parts of a mask that the guard refuses are
tried next (``fallbacks.py``), in a joint pass also of one that val refuses. Elsewhere only masks whose score as a
candidate is higher by what was missing there, and at last the one with the highest.

A matched trial's masks are given; the same rule chooses the weights they are committed with. A fine-tune that diverged
(NaN or infinite weights) is never committed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from torch import Tensor

from raprune.engine.tasks import Candidate, Finetune, Measure, Refit
from raprune.evaluators.base import Evaluator
from raprune.network.graph import Graph
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.plugins.methods.base import LeastSquares
from raprune.study.fidelity import FidelitySpec
from raprune.trial.candidates import TOLERANCE, Candidates, Scale
from raprune.trial.committed import Committed, left_whole
from raprune.trial.fallbacks import (
    HALF,
    MAX_MASKS,
    Rounded,
    RoundUp,
    bisected,
    distinct,
    first_held,
    part_of,
    share_left,
)  # fmt: skip
from raprune.trial.guard import MAX_LOOKS, Guard, Seen

FULL = FidelitySpec()


@dataclass
class Contract:
    """The conditions under which every layer of a trial is committed."""

    evaluator: Evaluator
    graph: Graph
    scale: Scale
    fidelity: FidelitySpec = FULL
    """Fidelity of candidates. Where it is not full, only the masks and their order count, not their scores."""
    trains: bool = False
    """Whether candidates are fine-tuned before their reward."""
    refit: LeastSquares | None = field(default=None, kw_only=True)
    """On what the layers above a cut one are refitted before the committed fine-tune; ``None`` leaves them alone.

    Recalibrated candidates are fine-tuned as they were scored, without a refit.
    """
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """The baseline's weights."""
    guard: Guard | None = None
    held_back: float = 0.0
    """Points of the bound that are left on the guard for later layers."""

    def search_scale(self, state: State, val_score: float) -> Scale:
        """What candidates cut from ``state`` are held to, so that the guard is likely to allow the chosen one."""
        if self.guard is None:
            return self.scale
        margin = self.guard.margin(state, self.scale.baseline_score - val_score, self.scale.drop_bound)
        return replace(self.scale, baseline_score=self.scale.baseline_score + margin)

    def look(self, state: State) -> Seen | None:
        """What the guard says of ``state`` under the contract's bound; ``None`` without a guard."""
        return None if self.guard is None else self.guard.look(state, self.scale.drop_bound, self.held_back)

    def allows(self, state: State) -> bool:
        """Whether the guard, if any, allows ``state``; a refusal counts."""
        return self.allowed(self.look(state))

    def allowed(self, seen: Seen | None) -> bool:
        """Whether a look at the guard was not a refusal, which counts."""
        if self.guard is None or seen is None or seen.excess <= TOLERANCE:
            return True
        self.guard.num_refused += 1
        return False

    def diverged(self, state: State) -> bool:
        """Whether training left NaN or infinite values in ``state`` where the baseline's weights have none."""
        return any(
            not np.isfinite(array).all() and (name not in self.weights or bool(self.weights[name].isfinite().all()))
            for name, array in state.arrays.items()
            if array.dtype.kind == "f"
        )


def commit_within_bound(
    contract: Contract,
    candidates: Candidates,
    decided: KeepMask,
    val_score: float,
    round_up: RoundUp = lambda mask: mask,
    order: Sequence[int] = (),
) -> Committed:
    """Commit the first state within the bound; ``val_score`` is the state's score before the layer was cut.

    ``round_up`` adds filters to every mask before it is tried. ``order``: the layer's filters, the most important
    first; without it no parts of a mask are tried.
    """
    if round_up(decided).keeps_all:
        return left_whole(candidates.state, decided.num_filters, val_score, decided.num_kept)
    cutting = _Choosing(
        **vars(contract), parent=candidates.state, layer=candidates.layer,
        candidates=candidates, round_up=round_up, order=order,
    )  # fmt: skip
    committed = cutting.first_allowed(decided)
    committed = committed or left_whole(candidates.state, decided.num_filters, val_score, decided.num_filters)
    committed = replace(committed, num_diverged=cutting.num_diverged, num_guard_looks=cutting.num_looks)
    return replace(committed, decided_held=cutting.decided_held)


def commit_as_given(contract: Contract, state: State, layer: str, mask: KeepMask) -> Committed:
    """Commit a matched trial's layer, which keeps its mask whatever the score.

    The weights are chosen as in :func:`commit_within_bound`: the first within the bound, or the best if none is.
    """
    cutting = _Cutting(**vars(contract), parent=state, layer=layer)
    weights = cutting.best(mask)
    if weights is None:
        cut = state.cut(contract.graph, layer, mask)
        weights = _Weights(cut, contract.evaluator.run(Measure("val"), cut))
    cutting.seen = contract.look(weights.state)
    committed = cutting.committed(mask, weights, mask.num_kept, None)
    return replace(committed, num_guard_looks=0 if cutting.seen is None else 1)


@dataclass(frozen=True)
class _Weights:
    """A cut network with one choice of weights."""

    state: State
    score: float
    """Score on val."""
    as_scored: bool = False
    """Whether candidates are scored with these weights."""


@dataclass(kw_only=True)
class _Cutting(Contract):
    """Tries one layer's masks for the commit."""

    parent: State
    layer: str
    num_diverged: int = 0
    num_looks: int = 0
    decided_held: bool | None = None
    refused: bool = False
    """Whether the last mask was within the bound on val, so that the guard refused it if it was not committed."""
    seen: Seen | None = None
    """The last look at the guard."""
    lowest: float = -math.inf
    """The lowest score, as a candidate, of a mask that may still be shown to the guard."""

    def shown(self, weights: _Weights, known: float | None) -> bool:
        """Show a mask's weights to the guard; returns whether it allows them. ``known``: its score as a candidate."""
        if self.guard is None:
            return True
        self.num_looks += 1
        self.seen = self.look(weights.state)
        if self.allowed(self.seen):
            return True
        assert self.seen is not None
        self.lowest = (weights.score if known is None else known) + self.seen.excess
        return False

    def has_slack(self, score: float | None, safest: float) -> bool:
        """Whether a mask with this score as a candidate may be tried; ``safest`` is the highest score of all."""
        lowest = safest if self.num_looks == MAX_LOOKS - 1 else min(self.lowest, safest)
        return score is None or score >= lowest

    def best(self, mask: KeepMask) -> _Weights | None:
        """The mask's first weights within the bound, or else the best ones; ``None`` where all diverged."""
        tried: list[_Weights] = []
        for state, as_scored in self._choices(mask):
            if self.diverged(state):
                self.num_diverged += 1
                continue
            tried.append(_Weights(state, self.evaluator.run(Measure("val"), state), as_scored))
            if self.scale.feasible(tried[-1].score):
                return tried[-1]
        return max(tried, key=lambda weights: weights.score, default=None)

    def committed(self, mask: KeepMask, weights: _Weights, num_decided: int, known: float | None) -> Committed:
        """The committed layer with all its scores; ``known`` is the mask's score as a candidate, if any."""
        cut = self.parent.cut(self.graph, self.layer, mask)
        known = weights.score if known is None and weights.as_scored else known
        if known is None and self.fidelity.recalibrates:
            known = self.evaluator.run(Measure("val"), self._start(cut, mask))
        as_cut = not self.trains and not self.fidelity.recalibrates
        score = known if as_cut and known is not None else self.evaluator.run(Measure("val"), cut)
        known = score if as_cut else known
        paired = None if self.seen is None else self.seen.paired
        return Committed(weights.state, mask, score, known, weights.score, num_decided, self.num_diverged, paired)

    def _choices(self, mask: KeepMask) -> Iterator[tuple[State, bool]]:
        """States to try: after the committed fine-tune; then as a candidate, at full fidelity or as recalibrated."""
        cut = self.parent.cut(self.graph, self.layer, mask)
        start = self._start(cut, mask)
        if self.refit is not None and self.layer != ALL_LAYERS and not self.fidelity.recalibrates:
            start = self.evaluator.run(Refit(self.layer, mask, self.refit), self.parent)
        finetuned = self.evaluator.run(Finetune("commit", cut.version), start)
        if finetuned.version != (start if self.fidelity.recalibrates else cut).version:
            yield finetuned, False
        scored = start if self.fidelity.recalibrates else self.evaluator.run(Candidate(self.layer, mask), self.parent)
        yield scored, True

    def _start(self, cut: State, mask: KeepMask) -> State:
        """The state with which a committed fine-tune begins.

        A cut network that keeps the norms of the whole one is far from what was scored, so recalibrated candidates are
        fine-tuned from the state in which they were scored.
        """
        return self.evaluator.run(Candidate(self.layer, mask), self.parent) if self.fidelity.recalibrates else cut


@dataclass(kw_only=True)
class _Choosing(_Cutting):
    """Finds the mask that a layer is committed with."""

    candidates: Candidates
    round_up: RoundUp
    order: Sequence[int]

    def first_allowed(self, decided: KeepMask) -> Committed | None:
        """The layer committed with ``decided``, or with what is tried in its place."""
        first, *others = distinct([decided, *self.candidates.feasible_masks()], self.round_up)
        if (committed := self.tried(*first)) is not None:
            return committed
        if self.fidelity.is_full and self.candidates.scale.drop_bound <= self.scale.drop_bound:  # scores are trusted
            return first_held(self.tried, islice(self._with_slack(others), MAX_MASKS - 1))
        return self.parts(decided) or bisected(self.tried, others, self.parts)

    def tried(self, mask: KeepMask, chosen: KeepMask) -> Committed | None:
        """The layer committed with ``mask``; ``None`` where that is over the bound, or may not be shown any more."""
        if self.num_looks == MAX_LOOKS:
            return None
        known = self.candidates.score_of(mask) if self.fidelity.is_full else None
        weights = self.best(mask)
        held = self.refused = weights is not None and self.scale.feasible(weights.score)
        self.decided_held = held if self.decided_held is None else self.decided_held
        if weights is None or not held or not self.shown(weights, self.candidates.score_of(mask, chosen)):
            return None
        return self.committed(mask, weights, chosen.num_kept, known)

    def parts(self, chosen: KeepMask) -> Committed | None:
        """The first part of a mask that the guard refused, in a joint pass also one that val did; ``None`` otherwise.

        Where val refused a layer's mask, the ones that were scored tell more than parts. A joint pass has scored few
        between single blocks and what it decided on, and what its part leaves of the bound is for the next pass.
        """
        if not self.order or not (self.refused or self.layer == ALL_LAYERS):
            return None
        for _ in range(MAX_MASKS):
            smaller = part_of(chosen, self.order, self._share_left())
            if smaller is None or (mask := self.round_up(smaller)).keeps_all:
                break
            if (committed := self.tried(mask, smaller)) is not None:
                return committed
            chosen = smaller
        return None

    def _share_left(self) -> float:
        """The share of the last mask's filters that the next part of it prunes; 0 where none may be shown any more."""
        if self.num_looks == MAX_LOOKS:
            return 0.0
        if self.guard is None or self.seen is None or not self.refused:
            return HALF
        return share_left(self.guard.room(self.parent, self.seen), self.seen.counted - self.seen.edge)

    def _with_slack(self, others: Sequence[Rounded]) -> Iterator[Rounded]:
        score_of = self.candidates.score_of
        safest = max((score for pair in others if (score := score_of(*pair)) is not None), default=0.0)
        return (pair for pair in others if self.has_slack(score_of(*pair), safest))
