"""The drop-bound contract: what a layer is committed as.

A state is committed only if its drop on the full validation split, at full fidelity, is within the bound. First the
decided mask after the committed fine-tune; then the candidate as it was scored (at full fidelity, whatever the fidelity
it was decided with); then the next best feasible masks in the same way; in the end the layer stays whole. Where
candidates were scored approximately, a score that is off by much for one mask is so for its neighbours too: there the
feasible masks are bisected, from the one that prunes most to the one that prunes least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raprune.candidates import Candidates, Scale
from raprune.evaluating import Evaluator
from raprune.graph import Graph
from raprune.masks import pack
from raprune.state import State
from raprune.study.fidelity import FidelitySpec

FULL = FidelitySpec()
MAX_MASKS = 4
"""Masks tried before the layer stays whole; each costs a fine-tune."""
MAX_BISECTED = 6
"""Masks tried after the decided one where scores are approximate."""


@dataclass(frozen=True)
class Committed:
    """A layer as it was committed."""

    state: State
    keep_mask: Tensor
    pruned_val_score: float
    """As cut, before the committed fine-tune."""
    finetuned_val_score: float
    """Of ``state``."""
    num_decided: int
    """Filters that ``keep_mask`` kept before it was rounded up."""


def commit_within_bound(
    evaluator: Evaluator,
    graph: Graph,
    candidates: Candidates,
    decided: Tensor,
    scale: Scale,
    val_score: float,
    round_up: Callable[[Tensor], Tensor] = torch.clone,
    fidelity: FidelitySpec = FULL,
) -> Committed:
    """The first state within the bound; ``val_score`` is the score of the state before the layer was cut.

    ``round_up`` adds filters to every mask before it is tried. Where the candidates' scores are not exact by their
    ``fidelity``, nothing is taken from them but the masks and their order.
    """
    full_fidelity = fidelity.is_full
    parent, layer = candidates.state, candidates.layer
    whole = torch.ones_like(decided)
    if round_up(decided).all():
        return Committed(parent, whole, val_score, val_score, int(decided.sum()))

    def tried(mask: Tensor, num_decided: int) -> Committed | None:
        """``mask`` within the bound, if it can be."""
        cut = parent.cut(graph, layer, mask)
        known = candidates.score_of(mask) if full_fidelity else None
        pruned = evaluator.measure(cut, "val") if known is None else known
        for state in _weights(evaluator, parent, cut, layer, mask, fidelity):
            score = evaluator.measure(state, "val")
            if scale.feasible(score):
                return Committed(state, mask, pruned, score, num_decided)
        return None

    first, *others = _distinct([decided, *candidates.feasible_masks()], round_up)
    found = tried(*first)
    if found is None:
        found = _first(tried, others[: MAX_MASKS - 1]) if full_fidelity else _bisected(tried, others)
    return found or Committed(parent, whole, val_score, val_score, whole.numel())


def commit_as_given(
    evaluator: Evaluator, graph: Graph, state: State, layer: str, mask: Tensor, fidelity: FidelitySpec = FULL
) -> Committed:
    """A matched trial's layer: cut, fine-tuned as a searched one's is, committed whatever its score."""
    cut = state.cut(graph, layer, mask)
    pruned = evaluator.measure(cut, "val")
    finetuned = evaluator.finetune(_start(evaluator, state, cut, layer, mask, fidelity), "commit", cut.version)
    score = pruned if finetuned is cut else evaluator.measure(finetuned, "val")
    return Committed(finetuned, mask, pruned, score, int(mask.sum()))


Try = Callable[[Tensor, int], Committed | None]


def _first(tried: Try, masks: Iterable[tuple[Tensor, int]]) -> Committed | None:
    return next((found for mask in masks if (found := tried(*mask)) is not None), None)


def _bisected(tried: Try, masks: Sequence[tuple[Tensor, int]]) -> Committed | None:
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


def _distinct(masks: Iterable[Tensor], round_up: Callable[[Tensor], Tensor]) -> list[tuple[Tensor, int]]:
    """``masks`` rounded up, each once, none of them whole; with the filters that each kept before that."""
    found: dict[bytes, tuple[Tensor, int]] = {}
    for chosen in masks:
        mask = round_up(chosen)
        if not mask.all():
            found.setdefault(pack(mask), (mask, int(chosen.sum())))
    return list(found.values())


def _weights(
    evaluator: Evaluator, parent: State, cut: State, layer: str, mask: Tensor, fidelity: FidelitySpec
) -> Iterator[State]:
    """After the committed fine-tune; then as the candidate is, in full, or exactly as it was recalibrated."""
    start = _start(evaluator, parent, cut, layer, mask, fidelity)
    finetuned = evaluator.finetune(start, "commit", cut.version)
    if finetuned.version != start.version:
        yield finetuned
    yield start if fidelity.recalibrates else evaluator.candidate(parent, layer, mask)


def _start(evaluator: Evaluator, parent: State, cut: State, layer: str, mask: Tensor, fidelity: FidelitySpec) -> State:
    """What a committed fine-tune begins with.

    A cut network whose norms are those of the whole one is far from what was scored: recalibrated candidates are
    fine-tuned as they were scored.
    """
    return evaluator.candidate(parent, layer, mask) if fidelity.recalibrates else cut
