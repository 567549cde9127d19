"""Searches along one ranking of the filters, shared by the decision stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import Evaluate


def bisect(ranking: Sequence[int], evaluate: Evaluate) -> int:
    """How many filters to keep: the shortest prefix of ``ranking`` (most important first) within the drop bound.

    Bisects over num_kept. The prefix it returns was scored and is feasible; keep-all needs no scoring. If feasibility
    is not monotone along the ranking, this is *a* boundary: a feasible prefix whose next shorter one is not.
    """
    infeasible, kept = 0, len(ranking)
    while kept - infeasible > 1:
        middle = (kept + infeasible) // 2
        if evaluate([keep_first(ranking, middle)])[0].feasible:
            kept = middle
        else:
            infeasible = middle
    return kept


def geometric(num_filters: int) -> list[int]:
    """Numbers of filters to keep, each the one before divided by about 1.4, down to one."""
    number = round(2 * math.log2(num_filters))
    numbers = [round(num_filters * 2 ** (-step / 2)) for step in range(1, number + 1)]
    return sorted(set(numbers) - {num_filters}, reverse=True)


def bisection_steps(num_filters: int) -> int:
    """Most masks that :func:`bisect` scores."""
    return max(1, (num_filters - 1).bit_length())


def fewest_bisection_steps(num_filters: int) -> int:
    """Fewest masks that :func:`bisect` scores."""
    return num_filters.bit_length() - 1
