"""Factors whose channels all stay (a layer's scale, attention over channels): the product takes those it still has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.engine.split import split
from raprune.network.graph import trace
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.small import Net

SHAPE = (3, 8, 8)


class Scaled(Net):
    """With parameters of one number a channel."""

    def __init__(self, between: Any) -> None:
        super().__init__(between)
        torch.manual_seed(0)
        self.of_four, self.of_three = (
            nn.Parameter(torch.rand(1, 4, 1, 1) + 0.5),
            nn.Parameter(torch.rand(4, 1, 1) + 0.5),
        )
        self.image = nn.Parameter(torch.rand(4, 8, 8))
        self(torch.zeros(2, *SHAPE))


FACTORS: dict[str, tuple[Any, set[str]]] = {
    "a scale": (lambda s, a, b: a * s.of_four + b, {"one", "two"}),
    "a scale without images": (lambda s, a, b: a + s.of_three * b, {"one", "two"}),
    "of a sum": (lambda s, a, b: (a + b) * s.of_three, {"one", "two"}),
    "a number a position": (lambda s, a, b: a * s.image, {"one"}),
    "divided": (lambda s, a, b: a / s.of_three + s.of_four / (1 + b.abs()), {"one", "two"}),
    "attention over channels": (lambda s, a, b: a * torch.softmax(b.mean((2, 3), keepdim=True), 1), {"one"}),
    "spread as another": (lambda s, a, b: s.of_four.expand_as(a) * a, {"one"}),
}


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("what", list(FACTORS))
def test_factors_that_stay(what: str, residual: str) -> None:
    between, pruned = FACTORS[what]
    network = Scaled(between).eval()
    x = torch.randn(2, *SHAPE)
    traced = trace(network, SHAPE, residual=residual)
    found = {member.layer for group in traced.graph.groups.values() for member in group.members}
    assert found == pruned
    torch.testing.assert_close(traced.network(x), network(x))
    for seed in range(3):
        prove(traced, SHAPE, seed)


def test_candidates_of_a_split_network_take_the_factors_channels() -> None:
    traced = trace(Scaled(lambda s, a, b: (a * s.of_four + b) * s.of_three).eval(), SHAPE)
    plan = random_cuts(traced.graph, torch.Generator().manual_seed(1), keep=0.4)
    x: Tensor = torch.randn(2, *SHAPE)
    for place, layer in enumerate(plan):
        below = dict(list(plan.items())[:place])
        network = shrink(traced, below)
        assert isinstance(network, torch.fx.GraphModule)
        halves = split(network, traced.graph, layer, below)
        assert halves is not None
        with torch.no_grad():
            expected = shrink(traced, {**below, layer: plan[layer]})(x)
            torch.testing.assert_close(halves.candidate(plan[layer])(halves.prefix(x)), expected)
