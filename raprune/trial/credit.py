"""How much of what fine-tunes win back is lent to the candidates of each layer.

A candidate is scored as cut; its layer is committed after a fine-tune, which wins some of the score back. ``credit``
lets candidates exceed the allowance by so many points. How much a fine-tune wins back depends on the network, the layer
and the recipe. ``credit: auto`` finds it out as it goes, the way a sender finds out what a network carries: additive
increase, multiplicative decrease (Chiu and Jain 1989). It begins with the bound, but at most 4 points. A layer whose
decided mask was within the allowance after its fine-tune adds half a bound; one whose decided mask was over it on val
halves the credit. What the guard says does not count: it tells luck, not what training wins back. All of this is our
own; the paper fine-tunes every candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raprune.study.schema import TrialSpec

STEP_BOUNDS, CUT = 0.5, 0.5
"""Drop bounds that are added after a layer whose decided mask held, and the factor after one whose mask did not."""
MOST_BOUNDS = 8.0
"""It grows to at most so many drop bounds."""


def credit_of(trial: TrialSpec, drop_bound: float, rows: Iterable[Mapping[str, Any]]) -> float:
    """Points lent to the next candidates; ``rows``: those of the layers decided so far, in the order of deciding."""
    credit = trial.lent(drop_bound)
    if not isinstance(trial.credit, str) or credit == 0:
        return credit
    for row in rows:
        held = row.get("decided_held")
        if held is not None:  # nothing was to be cut, or an older version decided
            credit = min(credit + STEP_BOUNDS * drop_bound, MOST_BOUNDS * drop_bound) if held else credit * CUT
    return credit
