"""What tracing costs grows with a network's depth, not with a power of it."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from raprune.network.graph import trace
from raprune.network.graph.units import either
from raprune.preflight.equivalence import prove


class Block(nn.Module):
    """Adds to its input what a depthwise, and perhaps another convolution makes of it."""

    def __init__(self, channels: int, mixes: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1) if mixes else None

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depthwise(x)
        return x if self.mix is None else x + self.mix(x)


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("mixes", [False, True])
def test_sums_with_their_own_summands_do_not_double(mixes: bool, residual: str) -> None:
    blocks = 40
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), *(Block(8, mixes) for _ in range(blocks)), nn.Conv2d(8, 2, 1)
    )
    traced = trace(network, (1, 6, 6), residual=residual)
    rows = max(len(ids) for ids in traced.graph.values.values())
    assert rows == (blocks + 1 if mixes and residual == "independent" else 1)
    prove(traced, (1, 6, 6))


def test_either_names_every_unit_once() -> None:
    one, other = np.array([[5, 6, 7], [5, 8, 7]]), np.array([[5, 6, 9]])
    assert either(one, other).tolist() == [[5, 6, 7], [5, 8, 9]]
    assert either(one[:1], other).tolist() == [[5, 6, 7], [5, 6, 9]]
