"""The drop-bound contract: what a layer is committed as.

A state is committed only if its drop on the full validation split, at full fidelity, is within the bound. First the
decided mask after the committed fine-tune; then the candidate as it was scored; then the next best feasible masks in
the same way; in the end the layer stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from raprune.candidates import Candidates, Scale
from raprune.evaluating import Evaluator
from raprune.graph import Graph
from raprune.state import State

MAX_MASKS = 4
"""Masks tried before the layer stays whole; each costs a fine-tune."""


@dataclass(frozen=True)
class Committed:
    """A layer as it was committed."""

    state: State
    keep_mask: Tensor
    pruned_val_score: float
    """As cut, before the committed fine-tune."""
    finetuned_val_score: float
    """Of ``state``."""


def commit_within_bound(
    evaluator: Evaluator,
    graph: Graph,
    candidates: Candidates,
    decided: Tensor,
    scale: Scale,
    val_score: float,
) -> Committed:
    """The first state within the bound; ``val_score`` is the score of the state before the layer was cut."""
    parent, layer = candidates.state, candidates.layer
    for mask in _in_turn(decided, candidates):
        cut = parent.cut(graph, layer, mask)
        known = candidates.score_of(mask)
        pruned = evaluator.measure(cut, "val") if known is None else known
        for state in _weights(evaluator, cut, parent):
            score = evaluator.measure(state, "val")
            if scale.feasible(score):
                return Committed(state, mask, pruned, score)
    whole = torch.ones_like(decided)
    return Committed(parent, whole, val_score, val_score)


def commit_as_given(evaluator: Evaluator, graph: Graph, state: State, layer: str, mask: Tensor) -> Committed:
    """A matched trial's layer: cut, fine-tuned, committed whatever its score."""
    cut = state.cut(graph, layer, mask)
    pruned = evaluator.measure(cut, "val")
    finetuned = evaluator.finetune(cut, "commit", cut.version)
    return Committed(finetuned, mask, pruned, pruned if finetuned is cut else evaluator.measure(finetuned, "val"))


def _in_turn(decided: Tensor, candidates: Candidates) -> Iterator[Tensor]:
    """The decided mask, then the other feasible ones that prune at least one filter."""
    if decided.all():
        return
    yield decided
    others = [mask for mask in candidates.feasible_masks() if not torch.equal(mask, decided)]
    yield from others[: MAX_MASKS - 1]


def _weights(evaluator: Evaluator, cut: State, parent: State) -> Iterator[State]:
    """After the committed fine-tune; then as the candidate was measured."""
    finetuned = evaluator.finetune(cut, "commit", cut.version)
    if finetuned.version != cut.version:
        yield finetuned
    rewarded = evaluator.finetune(cut, "reward", parent.version)
    yield cut if rewarded.version == cut.version else rewarded
