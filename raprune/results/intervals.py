"""Intervals of means over what was repeated independently: the baselines."""

from __future__ import annotations

import numpy as np

RESAMPLES = 5000


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean, by a percentile bootstrap over ``values``; NaN for fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
