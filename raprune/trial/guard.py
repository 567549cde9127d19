"""The guard of a trial: the part of val on which the bound must hold, too, opened once for each commit.

Candidates are chosen for their score on val, so the chosen one's drop there is too small on average. The guard images
choose nothing; the drop on them is right on average until it is used to refuse. Hence few looks, all of them counted:
after a refusal only a mask with as much more slack on val as was missing here is shown (``within_bound.py``).

Without a warranty a state is allowed where its drop on the guard is within the bound. With one, where the upper
confidence limit of its drop on fresh images is. A trial tests many states on the same images. Tests in a fixed order,
each only if all before it passed, need no correction: the first state over the bound passes with the probability of
error at most, and no later one is tested otherwise (Maurer, Hothorn and Lehmacher 1995). A refusal changes what is
tested afterwards, so each halves the error that is left: the first test has half of ``1 - warranty``, the one after k
refusals 2^-(k+1) of it. That the choice of the next state depends on where the refusals fell is not corrected for;
``benchmarks/coverage.py`` measures what the warranty holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raprune.engine.paired import Paired
from raprune.engine.tasks import Look
from raprune.evaluators.base import Evaluator
from raprune.network.state import State

MAX_LOOKS = 3
"""Masks of one layer that are shown to the guard before the layer stays whole."""


def confidence_after(num_refused: int, warranty: float) -> float:
    """The confidence of one look's limit, so that all looks of a trial together keep ``warranty``."""
    return 1 - (1 - warranty) * float(0.5 ** (num_refused + 1))


@dataclass(frozen=True)
class Seen:
    """One look at the guard."""

    paired: Paired
    excess: float
    """Points over what is allowed; 0 or less where the state is."""


@dataclass
class Guard:
    """Looks at states, and counts the looks of one trial."""

    evaluator: Evaluator
    warranty: float | None
    num_looks: int = 0
    num_refused: int = 0

    @classmethod
    def resumed(cls, evaluator: Evaluator, warranty: float | None, rows: Iterable[Mapping[str, Any]]) -> Guard:
        """The guard of a trial after what it has committed: ``rows`` of its layers, and of its low-rank step."""
        looks = [
            (row.get("num_guard_looks") or 0, row.get("guard_score") is not None or bool(row.get("applied")))
            for row in rows
        ]
        return cls(evaluator, warranty, sum(n for n, _ in looks), sum(n - int(kept and n > 0) for n, kept in looks))

    @property
    def confidence(self) -> float:
        """The confidence of the next look's limit; 0.5 compares the drop itself."""
        return 0.5 if self.warranty is None else confidence_after(self.num_refused, self.warranty)

    def measure(self, state: State) -> Paired:
        """``state`` beside the baseline, where nothing hangs on it."""
        return self.evaluator.run(Look(), state)

    def look(self, state: State, drop_bound: float) -> Seen:
        """Whether ``state`` is allowed under ``drop_bound``; counts."""
        paired = self.measure(state)
        excess = (paired.drop if self.warranty is None else paired.limit(self.confidence)) - drop_bound
        self.num_looks += 1
        return Seen(paired, excess)
