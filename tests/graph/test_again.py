"""A pruned network can be traced, pruned and trained again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.network.graph import Align, trace
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove, random_cuts


class Rounds(nn.Module):
    """Sums, sums of sums, zeros that are padded, dropout, and a flag that follows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.drop, self.spatial = nn.Conv2d(1, 12, 3, padding=1), nn.Dropout(0.2), nn.Dropout2d(0.2)
        self.one, self.two = nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.three, self.wide = nn.Conv2d(12, 12, 1), nn.Conv2d(12, 16, 1)
        self.depthwise, self.last = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.drop(self.two(F.relu(self.one(x)))))
        x = x + self.spatial(self.three(x))
        x = F.pad(x, (0, 0, 0, 0, 2, 2)) + self.depthwise(self.wide(F.dropout(x, 0.1, self.training)))
        return self.last(x.mean((2, 3)))


MODES = ("independent", "coupled")
ROUNDS = [
    pytest.param(first, then, wrapped, marks=[] if wrapped == (first == then) else pytest.mark.slow)
    for first in MODES
    for then in MODES
    for wrapped in (False, True)
]
"""All pairs of two settings are in a fast one."""


@pytest.mark.parametrize(("first", "then", "wrapped"), ROUNDS)
def test_rounds_of_pruning(first: str, then: str, wrapped: bool) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    traced = trace(Rounds(), (1, 8, 8), residual=first)
    images = torch.randn(3, 1, 8, 8)
    for _ in range(3):
        small: nn.Module = shrink(traced, random_cuts(traced.graph, generator, keep=0.8))
        small = nn.Sequential(copy.deepcopy(small), nn.Identity()) if wrapped else copy.deepcopy(small)
        expected = small.eval()(images)
        traced = trace(small, (1, 8, 8), residual=then)
        assert len(traced.graph.groups) == (5 if then == "independent" else 2)
        torch.testing.assert_close(traced.network(images), expected)
        assert len(traced.graph.dropouts) == 3
        for seed in range(3):
            prove(traced, (1, 8, 8), seed)
        assert traced.network.train()(images).requires_grad
        traced.network.eval()
    assert any(isinstance(module, Align) for module in traced.network.modules())
