"""Which masks are tried in place of one that may not be committed.

Two kinds. Masks that were scored as candidates: one after the other where their scores can be trusted, else bisected.
And parts of a mask that the guard refused: filters are given back to it, the most important first. Where candidates may
exceed the bound (``credit``), all that a search has scored prunes about as much as the mask it decided on, so that the
guard refuses one after the other. A part prunes as much less as was missing, on a line from the network before the
layer to the refused one. All of this is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from raprune.network.masks import KeepMask

MAX_MASKS = 4
"""Masks tried where scores are trusted, the decided one among them; also parts of one mask. Each costs a fine-tune."""
MAX_BISECTED = 6
"""Masks tried after the decided one where scores are approximate."""
LEAST_PART, HALF, MOST_PART = 0.25, 0.5, 0.75
"""Of the filters that a refused mask prunes, a part prunes at least and at most so many; half, where val refused it.

A single look says little of where the line runs, and at the bound itself it would leave nothing.
"""

T = TypeVar("T")
Rounded = tuple[KeepMask, KeepMask]
"""A mask, and the one that it was rounded up from."""
Try = Callable[[KeepMask, KeepMask], T | None]
"""Tries to commit such a pair; returns the committed layer, or ``None`` where it may not be."""
RoundUp = Callable[[KeepMask], KeepMask]


def distinct(masks: Iterable[KeepMask], round_up: RoundUp) -> list[Rounded]:
    """``masks`` rounded up, without duplicates and whole masks."""
    before: dict[KeepMask, KeepMask] = {}
    for chosen in masks:
        mask = round_up(chosen)
        if not mask.keeps_all:
            before.setdefault(mask, chosen)
    return list(before.items())


def first_held(tried: Try[T], masks: Iterable[Rounded]) -> T | None:
    """What the first mask that may be committed comes to."""
    return next((committed for mask in masks if (committed := tried(*mask)) is not None), None)


def bisected(tried: Try[T], masks: Sequence[Rounded], otherwise: Callable[[KeepMask], T | None]) -> T | None:
    """About the first of ``masks`` within the bound, by bisection; those that prune most come first.

    Before any of them is, ``otherwise`` is asked after each that is not; what it returns ends the bisection.
    """
    best, low, high = None, 0, len(masks)
    for _ in range(MAX_BISECTED):
        if low == high:
            break
        middle = (low + high) // 2
        committed = tried(*masks[middle])
        if committed is None and best is None and (part := otherwise(masks[middle][1])) is not None:
            return part
        best = best if committed is None else committed
        low, high = (middle + 1, high) if committed is None else (low, middle)
    return best


def part_of(mask: KeepMask, order: Sequence[int], share: float) -> KeepMask | None:
    """``mask`` with only the least important ``share`` of its pruned filters gone; ``None`` where that is none.

    ``order``: all filters of the layer, the most important first.
    """
    pruned = [index for index in order if not mask.key[index]]
    num_left = int(share * len(pruned))
    if num_left == 0:
        return None
    keep_N = mask.tensor.clone()
    keep_N[pruned[: len(pruned) - num_left]] = True
    return KeepMask.of(keep_N)


def share_left(room: float, beyond: float) -> float:
    """The share of a refused mask's pruned filters that a part of it prunes.

    The mask used up the ``room`` before the edge of what is allowed, and went so many points ``beyond`` it.
    """
    return min(MOST_PART, max(LEAST_PART, room / (room + beyond)))
