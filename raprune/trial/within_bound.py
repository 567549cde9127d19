"""The drop-bound contract: what a layer is committed as.

A state is committed only if its drop on the full validation split, at full fidelity, is within the bound. First the
decided mask after the committed fine-tune; then the candidate as it was scored (at full fidelity, whatever the fidelity
it was decided with); then the next best feasible masks in the same way; in the end the layer stays whole. Where
candidates were scored approximately, a score that is off by much for one mask is so for its neighbours too: there the
feasible masks are bisected, from the one that prunes most to the one that prunes least.

A matched trial takes its masks as they are given; which weights they are committed with follows the same rule. A
fine-tune that diverged (weights that are NaN or infinite) is never committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from raprune.engine.tasks import Candidate, Finetune, Measure
from raprune.evaluators.base import Evaluator
from raprune.network.graph import Graph
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.study.fidelity import FidelitySpec
from raprune.trial.candidates import Candidates, Scale

FULL = FidelitySpec()
MAX_MASKS = 4
"""Masks tried before the layer stays whole; each costs a fine-tune."""
MAX_BISECTED = 6
"""Masks tried after the decided one where scores are approximate."""


@dataclass(frozen=True)
class Committed:
    """A layer as it was committed."""

    state: State
    keep_mask: KeepMask
    cut_val_score: float | None
    """As cut, before any fine-tune."""
    pruned_val_score: float | None
    """As candidates are scored, in full: after the fine-tune before the reward, or recalibrated, where there is one."""
    finetuned_val_score: float
    """Of ``state``."""
    num_decided: int
    """Filters that ``keep_mask`` kept before it was rounded up."""
    num_diverged: int = 0
    """Fine-tunes that left weights which are NaN or infinite; none of them was kept."""


@dataclass
class Contract:
    """What every layer of a trial is committed under."""

    evaluator: Evaluator
    graph: Graph
    scale: Scale
    fidelity: FidelitySpec = FULL
    """Of candidates. Where their scores are not exact by it, only their masks and their order are taken from them."""
    trains: bool = False
    """Candidates are fine-tuned before their reward."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """The baseline's."""

    def diverged(self, state: State) -> bool:
        """Whether training left NaN or infinite values in ``state`` where the baseline's weights have none."""
        return any(
            not np.isfinite(array).all() and (name not in self.weights or bool(self.weights[name].isfinite().all()))
            for name, array in state.arrays.items()
            if array.dtype.kind == "f"
        )


def left_whole(state: State, num_filters: int, val_score: float, num_decided: int, num_diverged: int = 0) -> Committed:
    """A layer of which nothing is pruned; ``val_score`` is that of ``state``."""
    return Committed(state, KeepMask.whole(num_filters), val_score, val_score, val_score, num_decided, num_diverged)


def commit_within_bound(
    contract: Contract,
    candidates: Candidates,
    decided: KeepMask,
    val_score: float,
    round_up: Callable[[KeepMask], KeepMask] = lambda mask: mask,
) -> Committed:
    """The first state within the bound; ``val_score`` is the score of the state before the layer was cut.

    ``round_up`` adds filters to every mask before it is tried.
    """
    full_fidelity, scale = contract.fidelity.is_full, contract.scale
    parent, layer = candidates.state, candidates.layer
    if round_up(decided).keeps_all:
        return left_whole(parent, decided.num_filters, val_score, decided.num_kept)
    cutting = _Cutting(**vars(contract), parent=parent, layer=layer)

    def tried(mask: KeepMask, num_decided: int) -> Committed | None:
        """``mask`` within the bound, if it can be."""
        known = candidates.score_of(mask) if full_fidelity else None
        found = cutting.best(mask)
        if found is None or not scale.feasible(found.score):
            return None
        return cutting.committed(mask, found, num_decided, known)

    first, *others = _distinct([decided, *candidates.feasible_masks()], round_up)
    found = tried(*first)
    if found is None:
        found = _first(tried, others[: MAX_MASKS - 1]) if full_fidelity else _bisected(tried, others)
    found = found or left_whole(parent, decided.num_filters, val_score, decided.num_filters)
    return replace(found, num_diverged=cutting.num_diverged)


def commit_as_given(contract: Contract, state: State, layer: str, mask: KeepMask) -> Committed:
    """A matched trial's layer, which keeps its mask whatever its score; otherwise as :func:`commit_within_bound`.

    The first of the same weights that is within the bound is committed, and the best of them where none is.
    """
    cutting = _Cutting(**vars(contract), parent=state, layer=layer)
    found = cutting.best(mask)
    if found is None:
        cut = state.cut(contract.graph, layer, mask)
        found = _Weights(cut, contract.evaluator.run(Measure("val"), cut))
    return cutting.committed(mask, found, mask.num_kept, None)


@dataclass(frozen=True)
class _Weights:
    """A cut network with one choice of its weights."""

    state: State
    score: float
    """On val."""
    as_scored: bool = False
    """They are those that candidates are scored with."""


@dataclass(kw_only=True)
class _Cutting(Contract):
    """One layer's masks on their way to be committed."""

    parent: State
    layer: str
    num_diverged: int = 0

    def best(self, mask: KeepMask) -> _Weights | None:
        """The first of the mask's weights within the bound, else the best of them; ``None`` where all diverged."""
        found: list[_Weights] = []
        for state, as_scored in self._choices(mask):
            if self.diverged(state):
                self.num_diverged += 1
                continue
            found.append(_Weights(state, self.evaluator.run(Measure("val"), state), as_scored))
            if self.scale.feasible(found[-1].score):
                return found[-1]
        return max(found, key=lambda one: one.score, default=None)

    def committed(self, mask: KeepMask, found: _Weights, num_decided: int, known: float | None) -> Committed:
        """With what else is told of a layer; ``known`` is the score that the mask had as a candidate."""
        cut = self.parent.cut(self.graph, self.layer, mask)
        known = found.score if known is None and found.as_scored else known
        if known is None and self.fidelity.recalibrates:
            known = self.evaluator.run(Measure("val"), self._start(cut, mask))
        as_cut = not self.trains and not self.fidelity.recalibrates
        score = known if as_cut and known is not None else self.evaluator.run(Measure("val"), cut)
        known = score if as_cut else known
        return Committed(found.state, mask, score, known, found.score, num_decided, self.num_diverged)

    def _choices(self, mask: KeepMask) -> Iterator[tuple[State, bool]]:
        """After the committed fine-tune; then as the candidate is, in full, or exactly as it was recalibrated."""
        cut = self.parent.cut(self.graph, self.layer, mask)
        start = self._start(cut, mask)
        finetuned = self.evaluator.run(Finetune("commit", cut.version), start)
        if finetuned.version != start.version:
            yield finetuned, False
        scored = start if self.fidelity.recalibrates else self.evaluator.run(Candidate(self.layer, mask), self.parent)
        yield scored, True

    def _start(self, cut: State, mask: KeepMask) -> State:
        """What a committed fine-tune begins with.

        A cut network whose norms are those of the whole one is far from what was scored: recalibrated candidates are
        fine-tuned as they were scored.
        """
        return self.evaluator.run(Candidate(self.layer, mask), self.parent) if self.fidelity.recalibrates else cut


Try = Callable[[KeepMask, int], Committed | None]


def _first(tried: Try, masks: Iterable[tuple[KeepMask, int]]) -> Committed | None:
    return next((found for mask in masks if (found := tried(*mask)) is not None), None)


def _bisected(tried: Try, masks: Sequence[tuple[KeepMask, int]]) -> Committed | None:
    """Of ``masks``, the one that prunes most first, about the first that is within the bound."""
    best, low, high = None, 0, len(masks)
    for _ in range(MAX_BISECTED):
        if low == high:
            break
        middle = (low + high) // 2
        found = tried(*masks[middle])
        best = best if found is None else found
        low, high = (middle + 1, high) if found is None else (low, middle)
    return best


def _distinct(masks: Iterable[KeepMask], round_up: Callable[[KeepMask], KeepMask]) -> list[tuple[KeepMask, int]]:
    """``masks`` rounded up, each once, none of them whole; with the filters that each kept before that."""
    kept_before: dict[KeepMask, int] = {}
    for chosen in masks:
        mask = round_up(chosen)
        if not mask.keeps_all:
            kept_before.setdefault(mask, chosen.num_kept)
    return list(kept_before.items())
