"""How much of what fine-tunes win back is lent to the candidates of each layer.

A candidate is scored as cut; its layer is committed after a fine-tune, which wins some of the score back. ``credit``
lets candidates exceed the allowance by so many points. How much a fine-tune wins back depends on the network, the layer
and the recipe. ``credit: auto`` finds it out as it goes, the way a sender finds a network's capacity (additive or
multiplicative growth while all arrives, a cut at a loss; Chiu and Jain 1989): it begins with twice the bound, at most 4
points; it grows by half after a layer whose decided mask was committed, and is halved after one whose decided mask was
refused. It never falls below where it began. All of this is our own; the paper fine-tunes every candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raprune.study.schema import TrialSpec

GROWTH, CUT = 1.5, 0.5
"""Factors after a layer whose decided mask was committed, and after one whose decided mask was refused."""
MOST_BOUNDS = 8.0
"""It grows to at most so many drop bounds."""


def credit_of(trial: TrialSpec, drop_bound: float, rows: Iterable[Mapping[str, Any]]) -> float:
    """Points lent to the next candidates; ``rows``: those of the layers decided so far, in the order of deciding."""
    credit = least = trial.lent(drop_bound)
    if not isinstance(trial.credit, str):
        return credit
    for row in rows:
        if tried := row["num_masks_tried"]:  # 0: nothing was to be cut; null: decided by an older version
            credit = max(least, min(credit * (GROWTH if tried == 1 else CUT), MOST_BOUNDS * drop_bound))
    return credit
