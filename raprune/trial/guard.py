"""The guard of a trial: the part of val on which the bound must hold, too, opened once for each commit.

Candidates are chosen for their score on val, so the chosen one's drop there is too small on average. The guard images
choose nothing; the drop on them is right on average until it is used to refuse. Hence few looks, all of them counted:

- A layer's candidates must leave a ``margin`` of the bound on val: as much as val flatters the state that they are cut
  from, and ``SELECTED`` standard errors of a drop on val, because about so much of what the best of many shows there is
  luck; but at most ``MOST_HELD_BACK`` of the bound, all together unless there is a warranty.
- Where a fine-tune may win back what candidates lose beyond the bound (``credit``), early layers leave a part of the
  bound here, too (``share_held_back``). Otherwise the first one may use all of it, because few images tell little; then
  no later layer may lose anything here, and the trial stands still.
- After a refusal only a mask with as much more slack on val as was missing here is shown, or a part of the refused one
  (``within_bound.py``).

Without a warranty a state is allowed where its drop on the guard is within the bound. With one, where the upper
confidence limit of its drop on fresh images is. A trial tests many states on the same images. Tests in a fixed order,
each only if all before it passed, need no correction: the first state over the bound passes with the probability of
error at most, and no later one is tested otherwise (Maurer, Hothorn and Lehmacher 1995). A refusal changes what is
tested afterwards, so each halves the error that is left: the first test has half of ``1 - warranty``, the one after k
refusals 2^-(k+1) of it. That the next state depends on where the refusals fell, and on the margin, is not corrected
for; ``benchmarks/coverage.py`` measures what the warranty holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raprune.engine.paired import Paired
from raprune.engine.tasks import Look
from raprune.evaluators.base import Evaluator
from raprune.network.state import State
from raprune.trial.candidates import TOLERANCE

SELECTED = 1.5
"""Standard errors by which the best of many is too good: the expected largest of ten normal deviates is 1.54."""
MOST_HELD_BACK = 0.5
"""Most of the bound that a layer's candidates leave unused on val, and the first layers on the guard: a fine-tune may
win it back, and few guard images would otherwise forbid every mask."""
MAX_LOOKS = 3
"""Masks of one layer that are shown to the guard before the layer stays whole."""


def confidence_after(num_refused: int, warranty: float) -> float:
    """The confidence of one look's limit, so that all looks of a trial together keep ``warranty``."""
    return 1 - (1 - warranty) * float(0.5 ** (num_refused + 1))


def share_held_back(num_decided: int, num_layers: int) -> float:
    """The share of the bound that is left on the guard after ``num_decided`` of ``num_layers`` layers; 0 after all."""
    return MOST_HELD_BACK * (1 - num_decided / num_layers)


@dataclass(frozen=True)
class Seen:
    """One look at the guard, in points."""

    paired: Paired
    counted: float
    """What the bound is compared with: the drop, or its limit under a warranty."""
    most: float
    """The most that may be lost."""
    edge: float
    """Where that ends: half an answer above the last one that may be lost, if the drop is counted in answers."""

    @property
    def excess(self) -> float:
        """Points over what is allowed; 0 or less where the state is."""
        return self.counted - self.most


@dataclass
class Guard:
    """Looks at states, and counts the looks of one trial."""

    evaluator: Evaluator
    num_val: int
    """Validation images. That ``fidelity.val_images`` scores candidates on a part of them, with a larger error, is not
    counted: what is committed is scored on all of them."""
    warranty: float | None
    num_looks: int = 0
    num_refused: int = 0

    @classmethod
    def resumed(
        cls, evaluator: Evaluator, num_val: int, warranty: float | None, rows: Iterable[Mapping[str, Any]]
    ) -> Guard:
        """The guard of a trial after what it has committed: ``rows`` of its layers, and of its low-rank step."""
        rows = list(rows)
        num_looks = sum(row.get("num_guard_looks") or 0 for row in rows)
        return cls(evaluator, num_val, warranty, num_looks, sum(map(_num_refused, rows)))

    @property
    def confidence(self) -> float:
        """The confidence of the next look's limit; 0.5 compares the drop itself."""
        return 0.5 if self.warranty is None else confidence_after(self.num_refused, self.warranty)

    def measure(self, state: State) -> Paired:
        """``state`` beside the baseline, where nothing hangs on it."""
        return self.evaluator.run(Look(), state)

    def margin(self, state: State, val_drop: float, drop_bound: float) -> float:
        """Points of ``drop_bound`` that candidates cut from ``state``, with its ``val_drop``, must leave on val."""
        paired = self.measure(state)
        error = max(paired.standard_error, paired.usual_error) * math.sqrt(paired.num_images / self.num_val)
        flattered, most = max(0.0, self._counted(paired) - val_drop), MOST_HELD_BACK * drop_bound
        margin = flattered + min(SELECTED * error, most)
        return min(margin, most) if self.warranty is None else margin

    def look(self, state: State, drop_bound: float, held_back: float = 0.0) -> Seen:
        """Whether ``state`` is allowed under ``drop_bound``, of which ``held_back`` points are to be left; counts.

        One answer may be lost in any case, if the bound is worth that.
        """
        paired = self.measure(state)
        self.num_looks += 1
        one = self._one_answer(paired)
        most = min(drop_bound, max(drop_bound - held_back, one))
        edge = most if one == 0 else one * (math.floor(most / one + TOLERANCE) + 0.5)
        return Seen(paired, self._counted(paired), most, edge)

    def room(self, state: State, seen: Seen) -> float:
        """Points from ``state`` to the edge of a look at another one; does not count as a look."""
        return max(0.0, seen.edge - self._counted(self.measure(state)))

    def _one_answer(self, paired: Paired) -> float:
        """Points that one image is worth; 0 where the drop is not counted in images."""
        return 0.0 if paired.lost is None or self.warranty is not None else 100 / paired.num_images

    def _counted(self, paired: Paired) -> float:
        """What the bound is compared with: the drop, or its limit under a warranty."""
        return paired.drop if self.warranty is None else paired.limit(self.confidence)


def num_refused(guard: Guard | None) -> int:
    """Refusals of a trial so far; none without a guard."""
    return 0 if guard is None else guard.num_refused


def _num_refused(row: Mapping[str, Any]) -> int:
    """Refusals behind a row; where it does not tell them, all looks at what was not kept."""
    told, num_looks = row.get("num_guard_refused"), row.get("num_guard_looks") or 0
    kept = row.get("guard_score") is not None or bool(row.get("applied"))
    return num_looks - (kept and num_looks > 0) if told is None else int(told)
