"""Layers of one's own and layers with hooks: first cut alone, and followed as far as they obey the rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.network.graph import trace
from raprune.preflight.equivalence import prove
from tests.graph.small import chain

SHAPE = (3, 8, 8)


class Padding(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 1)))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, groups=self.groups)


class OfAllWeights(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


class Gained(nn.Conv2d):
    """With a factor for each filter."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias)


class Flipped(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flip(1)


class Mixing(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(1, keepdim=True)


class Activated(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Averaged(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / x.shape[1])


def hooked(module: nn.Module, by_channel: bool) -> nn.Module:
    def clip(_: nn.Module, __: tuple[Tensor], out: Tensor) -> Tensor:
        return out.clamp(max=torch.arange(4)[None, :, None, None].to(out) if by_channel else 0.5)

    module.register_forward_hook(clip)
    return module


FIRST, OWN = "0", "1"
LAYERS: dict[str, tuple[nn.Module, set[str]]] = {
    "pads": (Padding(4, 4, 3), {FIRST, OWN}),
    "a gain": (Gained(4, 4, 3), {FIRST, OWN}),
    "standardised by filter": (Standardised(4, 4, 3), {OWN}),
    "standardised by filter, depthwise": (Standardised(4, 4, 3, groups=4), {FIRST, OWN}),
    "of all weights": (OfAllWeights(4, 4, 3), set()),
    "flipped": (Flipped(4, 4, 3), set()),
    "a norm that mixes": (Mixing(4), set()),
    "a norm that activates": (Activated(4), {FIRST}),
    "a head that counts": (chain(nn.Flatten(), Averaged(256, 4), nn.Unflatten(1, (4, 1, 1))), set()),
    "a clipped convolution": (hooked(nn.Conv2d(4, 4, 1), by_channel=False), {FIRST, OWN}),
    "a convolution clipped by channel": (hooked(nn.Conv2d(4, 4, 1), by_channel=True), set()),
    "a clipped ReLU": (hooked(nn.ReLU(), by_channel=False), {FIRST}),
    "a ReLU clipped by channel": (hooked(nn.ReLU(), by_channel=True), set()),
}


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("what", list(LAYERS))
def test_layers_of_ones_own(what: str, residual: str) -> None:
    layer, expected = LAYERS[what]
    torch.manual_seed(0)
    network = chain(nn.Conv2d(3, 4, 1), layer, nn.ReLU(), nn.LazyConv2d(4, 1), nn.Conv2d(4, 2, 1)).eval()
    x = torch.randn(2, *SHAPE)
    expected_logits = network(x)
    traced = trace(network, SHAPE, residual=residual)
    found = {member.layer for group in traced.graph.groups.values() for member in group.members}
    assert found - {"3"} == expected
    torch.testing.assert_close(traced.network(x), expected_logits)
    prove(traced, SHAPE)
