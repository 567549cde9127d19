"""Which filters a channel comes from: every filter is a unit, and units that must be pruned together are tied.

The channels of a value are described by ids (K, C): channel c is present while any of its K units is kept. K is 1
except for residual sums whose summands have their own masks. ``None`` stands for channels that always stay.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
"""(K, C) units of a value's or a tensor's channels."""
Kept = npt.NDArray[np.bool_]
"""One entry per unit: whether it is kept."""

FIXED = 0
"""A channel that always stays: the network's input, or one whose filter cannot be pruned."""
ZERO = 1
"""A channel of zeros that the network pads; it stays unless a channel added to it is removed."""
PINNED = 2
"""A filter that stays so that its convolution never runs empty."""
RESERVED = 3


class Units:
    """The units of one network and how they are tied (a union-find whose lower root wins, so FIXED always does)."""

    def __init__(self) -> None:
        self._parent = list(range(RESERVED))
        self.reasons: dict[int, str] = {}
        """Unit -> why it cannot be pruned; complete for units fixed directly, not for units tied to them."""
        self._roots: Ids | None = None

    def new(self, number: int) -> Ids:
        """(1, number): new units, tied to nothing."""
        first, self._roots = len(self._parent), None
        self._parent.extend(range(first, first + number))
        return np.arange(first, first + number)[None]

    def find(self, ids: Ids) -> Ids:
        """The same channels, each unit replaced by the lowest unit that it is tied to."""
        if self._roots is None:
            parent = np.asarray(self._parent)
            while not np.array_equal(parent, parent[parent]):
                parent = parent[parent]
            self._roots = parent
        roots: Ids = self._roots[ids]
        return roots

    def tie(self, one: Ids | None, other: Ids | None, reason: str) -> None:
        """Give two equally wide values the same channels under every mask; ``reason`` says why if they must stay."""
        if one is None or other is None:
            self.fix(one if other is None else other, reason)
            return
        if len(one) != len(other):
            for ids in (one, other):
                self.couple(ids, reason)
            one, other = _flat(one)[:1], _flat(other)[:1]
        for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
            self._unite(FIXED if a == ZERO else a, FIXED if b == ZERO else b, reason)

    def tie_columns(self, groups: list[Ids], reason: str) -> None:
        """Tie several values with equally many channels to the first."""
        for other in groups[1:]:
            self.tie(groups[0], other, reason)

    def fix(self, ids: Ids | None, reason: str) -> None:
        """Make channels stay, for ``reason``."""
        if ids is None:
            return
        for unit in np.unique(ids).tolist():
            if unit >= RESERVED:
                self.reasons.setdefault(unit, reason)
                self._unite(FIXED, unit, reason)

    def couple(self, ids: Ids, reason: str) -> None:
        """Tie the units of each channel; padded zeros follow whatever is added to them."""
        ids = _flat(ids)
        for row in ids[1:]:
            for a, b in zip(ids[0].tolist(), row.tolist(), strict=True):
                if b != ZERO:
                    self._unite(a, b, reason)

    def _unite(self, a: int, b: int, reason: str) -> None:
        low, high = sorted((self._root(a), self._root(b)))
        if low == FIXED and high >= RESERVED:
            self.reasons.setdefault(high, reason)
        if low != high and low != ZERO and high >= RESERVED:
            self._parent[high], self._roots = low, None

    def _root(self, unit: int) -> int:
        while self._parent[unit] != unit:
            self._parent[unit] = self._parent[self._parent[unit]]
            unit = self._parent[unit]
        return unit


def _flat(ids: Ids) -> Ids:
    """The ids with a unit that can be tied in the first row, for every channel that has one."""
    return -np.sort(-ids, axis=0)


def whole(number: int) -> Ids:
    """(1, number): channels that always stay."""
    return np.full((1, number), FIXED)


def either(one: Ids, other: Ids) -> Ids:
    """The channels of a sum: present while either value has them.

    A unit that both values share is listed once, so a chain of sums has as many rows as a channel has units.
    """
    return _once(np.concatenate([one, other]))


def _once(ids: Ids) -> Ids:
    """The same sets of units without repeats, each unit at its first place."""
    order = np.argsort(ids, axis=0, kind="stable")
    ranked = np.take_along_axis(ids, order, 0)
    again = np.zeros(ids.shape, dtype=bool)
    again[1:] = ranked[1:] == ranked[:-1]
    repeated = np.zeros(ids.shape, dtype=bool)
    np.put_along_axis(repeated, order, again, 0)
    if not repeated.any():
        return ids
    first = np.take_along_axis(np.where(repeated, ids[:1], ids), np.argsort(repeated, axis=0, kind="stable"), 0)
    return first[: int((~repeated).sum(0).max())]


def beside(values: list[Ids]) -> Ids:
    """The channels of a concatenation."""
    rows = max(len(ids) for ids in values)
    return np.concatenate([np.concatenate([ids, ids[:1].repeat(rows - len(ids), 0)]) for ids in values], axis=1)


def simplest(ids: Ids) -> Ids:
    """A normal form of ids: sorted, each unit once, FIXED without others, ZERO only where it is alone."""
    ids = np.sort(ids, axis=0)
    ids = np.where(ids[:1] == FIXED, FIXED, ids)
    ids = np.where(ids == ZERO, ids[-1:], ids)
    ids = np.sort(ids, axis=0)
    repeated = np.zeros(ids.shape, dtype=bool)
    repeated[1:] = ids[1:] == ids[:-1]
    ids = np.sort(np.where(repeated, ids[-1:], ids), axis=0)
    return ids[: max(1, ids.shape[0] - int(repeated.sum(0).min()))]


def present(ids: Ids, kept: Kept) -> npt.NDArray[np.bool_]:
    """(C,): which channels are present."""
    is_present: npt.NDArray[np.bool_] = kept[ids].any(0) | (ids == ZERO).all(0)
    return is_present
