"""What the search proposes around the best mask, against the same written out one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.plugins.decisions.search import REACH, _Climb


def one_by_one(best: Tensor, prices: list[float]) -> Iterator[list[float]]:
    """Blocks of the cheapest kept filters, single ones, swaps of two cheap kept filters for a dear pruned one."""
    cheap = sorted(range(len(prices)), key=lambda place: prices[place])
    kept = [place for place in cheap if best[place]]
    dear = sorted((p for p in range(len(prices)) if not best[p]), key=lambda place: -prices[place])
    changes: list[tuple[tuple[int, ...], int | None]] = [(tuple(kept[:size]), None) for size in range(1, len(kept))]
    changes += [((single,), None) for single in kept[1:]]
    changes += [(pair, back) for pair in combinations(kept[:REACH], 2) for back in dear[:REACH]]
    for away, back in changes:
        mask = [float(place in away or not best[place]) for place in range(len(prices))]
        yield mask if back is None else [0.0 if place == back else value for place, value in enumerate(mask)]


@pytest.mark.parametrize("num_filters", [2, 3, 9, 20])
@pytest.mark.parametrize("share", [0.4, 0.8, 1.0])
def test_what_is_proposed(num_filters: int, share: float) -> None:
    generator = torch.Generator().manual_seed(num_filters)
    best = torch.rand(num_filters, generator=generator) < share
    best[:2] = True
    prices = torch.rand(num_filters, generator=generator, dtype=torch.float64).mul(8).round()  # some are equal
    climb: Any = SimpleNamespace(best=best)
    found = _Climb._around(climb, SimpleNamespace(prices_at=lambda mask: prices))  # type: ignore[arg-type]
    assert found.tolist() == [*one_by_one(best, prices.tolist())]
