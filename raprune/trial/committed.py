"""A layer as a trial commits it."""

from __future__ import annotations

from dataclasses import dataclass

from raprune.engine.paired import Paired
from raprune.network.masks import KeepMask
from raprune.network.state import State


@dataclass(frozen=True)
class Committed:
    """A layer as it was committed."""

    state: State
    keep_mask: KeepMask
    cut_val_score: float | None
    """Score as cut, before any fine-tune."""
    pruned_val_score: float | None
    """Score as a candidate, at full fidelity: after the fine-tune or recalibration before the reward, if any."""
    finetuned_val_score: float
    """Score of ``state``."""
    num_decided: int
    """Filters that ``keep_mask`` kept before it was rounded up."""
    num_diverged: int = 0
    """Fine-tunes that left NaN or infinite weights; none of them was kept."""
    paired: Paired | None = None
    """``state`` beside the baseline on the guard images; ``None`` where the commit did not open them."""
    num_guard_looks: int = 0
    """Masks that were shown to the guard."""
    decided_held: bool | None = None
    """Whether the decided mask was within the bound on val; ``None`` where nothing was to be cut."""


def left_whole(state: State, num_filters: int, val_score: float, num_decided: int, num_diverged: int = 0) -> Committed:
    """A layer that loses no filter; ``val_score`` is the score of ``state``."""
    return Committed(state, KeepMask.whole(num_filters), val_score, val_score, val_score, num_decided, num_diverged)
