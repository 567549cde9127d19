"""Which evaluator scored when: added up from candidates, small whatever their number.

Values of candidates may be anybody's; impossible ones are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

MOST_BINS = 512
"""Bins in which anything was scored; more are joined in pairs. One candidate spans at most as many."""
NARROWEST_S = 0.125
_LONGEST_S, _LATEST_S = 1e7, 1e11
"""No candidate takes longer, and no clock is further ahead, in seconds."""
_NEEDED = ("evaluator", "score_s", "scored_at")
_FRAME = {"study": "str", "evaluator": "str", "start_s": "float64", "width_s": "float64", "busy_s": "float64"}


class Timeline:
    """The busy seconds of a study's evaluators in bins of equal width."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.width_s = NARROWEST_S
        self._busy: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._bins: set[int] = set()

    def columns_of(self, table: str) -> Sequence[str]:
        """What it needs of a table."""
        return _NEEDED if table == "candidates" else ()

    def add(self, candidates: pa.Table) -> None:
        """Add some candidates, each scored in the ``score_s`` before ``scored_at``; without these columns, nothing."""
        if not set(_NEEDED) <= set(candidates.column_names):
            return
        together = (
            candidates.select(_NEEDED).drop_null().group_by(["evaluator", "scored_at"]).aggregate([("score_s", "sum")])
        )
        ends, seconds = (together[name].to_numpy().astype(float, copy=False) for name in ("scored_at", "score_s_sum"))
        sound = (ends > 0) & (ends < _LATEST_S) & (seconds > 0) & (seconds < _LONGEST_S)
        if not sound.any():
            return
        names = np.array(together["evaluator"].to_pylist(), dtype=object)[sound]
        ends, seconds = ends[sound], seconds[sound]
        while seconds.max() > MOST_BINS * self.width_s:
            self._widen()
        for name, number, busy_s in self._spread(names, ends - seconds, ends):
            self._busy[str(name), number] += busy_s
            self._bins.add(number)
        while len(self._bins) > MOST_BINS:
            self._widen()

    def _spread(self, names: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[str, int, float]]:
        """Evaluator, bin and seconds in it, for each bin that each interval touches."""
        first, last = (np.floor(times / self.width_s).astype(int) for times in (starts, ends))
        times = last - first + 1
        number = np.repeat(first - np.cumsum(times) + times, times) + np.arange(times.sum())
        begins, finishes = np.repeat(starts, times), np.repeat(ends, times)
        overlap = np.minimum(finishes, (number + 1) * self.width_s) - np.maximum(begins, number * self.width_s)
        yield from (
            (name, place, busy_s)
            for name, place, busy_s in zip(np.repeat(names, times), number.tolist(), overlap.tolist(), strict=True)
            if busy_s > 0
        )

    def _widen(self) -> None:
        """Make the bins twice as wide."""
        self.width_s *= 2
        self._bins = {number // 2 for number in self._bins}
        before, self._busy = self._busy, defaultdict(float)
        for (name, number), busy_s in before.items():
            self._busy[name, number // 2] += busy_s

    def frame(self) -> pd.DataFrame:
        """A row for each evaluator and bin: study, evaluator, start_s (since 1970), width_s and busy_s.

        Bins in which an evaluator scored nothing have no row.
        """
        rows = [
            (self.study, name, number * self.width_s, self.width_s, busy_s)
            for (name, number), busy_s in sorted(self._busy.items())
        ]
        return pd.DataFrame(rows, columns=list(_FRAME)).astype(_FRAME)
