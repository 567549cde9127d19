"""The search of the joint pass: how many of each layer's least important filters go, over all layers together.

First one block of each layer is scored alone, which gives its price: points lost for what it saves. Where that would
take more than half of the masks, only the blocks that save most are priced, and the other layers are left to the swaps.
Blocks are then put in order of what they save a point, and several are taken at once: as many as their prices say will
fit, and in the same request fewer and more of them; the first of these masks that fits is taken, the one that takes
most first. Prices follow what was scored; blocks that do not fit are halved. At the end swaps give a block back in one
layer and take one in another where that saves more. All of it is our own.

Legend: L layers; counts, (L,): filters that go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Protocol

Counts = tuple[int, ...]

PARTS = (1.6, 1.0, 0.6, 0.3)
"""How much of what is predicted to fit is tried at once, the most first."""
GROWTH = 1.5
"""A layer's next block costs so many times the one before."""
CHANGE = (0.5, 4.0)
"""Limits of what one request may change a price by."""


class Ask(Protocol):
    """Scores masks given by their counts."""

    @property
    def left(self) -> int | None:
        """Masks that may still be scored; ``None`` without a limit."""

    def __call__(self, some: Sequence[Counts]) -> list[tuple[float | None, bool]]:
        """Score drop (``None``: far over the bound) and whether it is within the bound, for each."""


class JointSearch:
    """The counts so far, and what is known of prices."""

    def __init__(self, most: Sequence[int], saved: Callable[[Counts], int], ask: Ask, proposals: int) -> None:
        """``most``: filters of each layer that may go; ``saved``: what a network with these counts saves."""
        self.most, self.saved, self.ask, self.proposals = list(most), saved, ask, proposals
        self.counts: Counts = (0,) * len(most)
        self.block = [min(number, max(1, number // 8)) for number in most]
        self.price: list[float | None] = [None] * len(most)
        """Points that a layer's next block costs; ``None`` where it was not scored."""
        self.known: dict[Counts, tuple[float | None, bool]] = {}

    def run(self, drop: float, bound: float) -> Counts:
        """The best counts within ``bound``; ``drop``: points lost before."""
        self.drop, self.bound = drop, bound
        self.least = bound / 100
        self._leave_out()
        while self.ask.left != 0 and any(self.block):
            if not self._priced() and not self._taken():
                self._halve()
        while self.ask.left != 0 and self._swapped():
            pass
        return self.counts

    @property
    def remaining(self) -> float:
        """Points that are left."""
        return self.bound - self.drop

    def _scored(self, some: Sequence[Counts]) -> list[Counts]:
        """Have masks scored that are not known yet, as many as are scored at once and may still be; returns them."""
        new = [counts for counts in dict.fromkeys(some) if counts not in self.known]
        new = new[: self.proposals if self.ask.left is None else min(self.proposals, self.ask.left)]
        self.known.update(zip(new, self.ask(new) if new else [], strict=True))
        return new

    def _first(self, some: Sequence[Counts]) -> tuple[Counts, float] | None:
        """The first of these masks that is known to be within the bound, with its drop."""
        for counts in some:
            drop, is_within = self.known.get(counts, (None, False))
            if is_within and drop is not None:
                return counts, drop
        return None

    def _with(self, layers: Sequence[int]) -> Counts:
        """The counts so far with the next block of some layers."""
        return tuple(n + self.block[at] * (at in layers) for at, n in enumerate(self.counts))

    def _leave_out(self) -> None:
        """Give up the blocks that save least where prices of all would take more than half of the masks."""
        if self.ask.left is not None:
            saved = [self.saved(self._with([at])) for at in range(len(self.block))]
            for at in sorted(range(len(saved)), key=lambda at: (-saved[at], at))[max(1, self.ask.left // 2) :]:
                self.block[at] = 0

    def _priced(self) -> bool:
        """Score blocks whose price is unknown; returns whether there were any."""
        unknown = [at for at, price in enumerate(self.price) if price is None and self.block[at]][: self.proposals]
        self._scored([self._with([at]) for at in unknown])
        for at in unknown:
            drop, _ = self.known.get(self._with([at]), (None, False))
            self.price[at] = 2 * self.bound if drop is None else max(self.least, drop - self.drop)
        return bool(unknown)

    def _taken(self) -> bool:
        """Take the blocks that save most a point; returns whether there were blocks that might fit."""
        before = self.saved(self.counts)
        fits = [at for at, size in enumerate(self.block) if size and self._cost([at]) <= self.remaining]
        fits.sort(key=lambda at: (-(self.saved(self._with([at])) - before) / self._cost([at]), at))
        number = next((k for k in range(len(fits), 0, -1) if self._cost(fits[:k]) <= self.remaining), 0)
        sizes = [min(len(fits), max(1, round(number * part))) for part in PARTS]
        asked = {self._with(fits[:size]): fits[:size] for size in sizes if fits}
        asked |= {self._with([at]): [at] for at in fits}
        new = self._scored(list(asked))
        if (found := self._first(list(asked))) is not None:
            self._take(*found, asked[found[0]])
            return True
        for counts in new:
            self._learn(asked[counts], self.known[counts][0], at_least=1.5)
        return bool(new)

    def _cost(self, layers: Sequence[int]) -> float:
        return sum(self.price[at] or 0.0 for at in layers)

    def _take(self, counts: Counts, drop: float, layers: Sequence[int]) -> None:
        self._learn(layers, drop)
        self.counts, self.drop = counts, drop
        for at in layers:
            self.block[at] = min(self.block[at], self.most[at] - counts[at])
            self.price[at] = (self.price[at] or 0.0) * GROWTH

    def _learn(self, layers: Sequence[int], drop: float | None, at_least: float = 0.0) -> None:
        """Change the prices of blocks that were scored together by what they cost."""
        cost = 2 * self.bound if drop is None else max(self.least, drop - self.drop)
        change = max(at_least, CHANGE[0], min(CHANGE[1], cost / max(self.least, self._cost(layers))))
        for at in layers:
            self.price[at] = max(self.least, (self.price[at] or 0.0) * change)

    def _halve(self) -> None:
        """Make the blocks smaller; a block of one filter that does not fit is given up."""
        for at, size in enumerate(self.block):
            self.block[at] = size // 2
            price = self.price[at]
            self.price[at] = None if price is None else max(self.least, price / 2)

    def _swapped(self) -> bool:
        """Take the first swap that fits; returns whether any was left to try."""
        best = self.saved(self.counts)
        swaps = [(self.saved(counts) - best, counts) for counts in self._swaps()]
        better = [(gain, counts) for gain, counts in swaps if gain > 0 and counts not in self.known]
        better.sort(key=lambda pair: (-pair[0], pair[1]))
        new = self._scored([counts for _, counts in better])
        if (found := self._first(new)) is not None:
            self.counts, self.drop = found
        return bool(new)

    def _swaps(self) -> Iterator[Counts]:
        """Counts with fewer filters pruned in one layer and more in another."""
        for back, out in permutations(range(len(self.most)), 2):
            fewer = max(1, self.most[back] // 16)
            for more in {max(1, self.most[out] // part) for part in (8, 16)}:
                counts = list(self.counts)
                counts[back] -= fewer
                counts[out] += more
                if counts[back] >= 0 and counts[out] <= self.most[out]:
                    yield tuple(counts)
