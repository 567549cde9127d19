"""Chains: the same function as the network they come from, and nothing for networks that are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.network.chain import LETTERS, chain_of, network_of, steps_of
from raprune.network.graph import trace
from raprune.network.surgery import shrink
from tests.tiny import lively_vgg

SHAPE = (3, 32, 32)


class Functional(nn.Module):
    """A chain whose operations are partly calls, with every kind of pooling and a layer without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, stride=2, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.pool = nn.AvgPool2d(2)
        self.second = nn.Conv2d(6, 8, (1, 3), padding=(0, 1))
        self.largest = nn.MaxPool2d(3, stride=2, padding=1)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        values = self.pool(F.relu(self.norm(self.first(images))))
        values = self.mean(self.largest(self.second(values).relu()))
        logits: Tensor = self.last(self.drop(torch.flatten(values, 1)))
        return logits


def settled(network: nn.Module) -> nn.Module:
    """The network with norms that have seen something, in eval mode."""
    torch.manual_seed(0)
    network.train()(torch.randn(16, *SHAPE))
    return network.eval()


def pruned_vgg() -> nn.Module:
    traced = trace(lively_vgg(0.125), SHAPE)
    kept = torch.arange(traced.graph.group("features.10").num_filters) % 3 > 0
    return shrink(traced, {"features.10": kept}).eval()


@pytest.mark.parametrize("make", [pruned_vgg, lambda: trace(settled(Functional()), SHAPE).network])
def test_a_chain_is_the_network_and_its_steps_nearly_so(make: Any) -> None:
    network, images = make(), torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    chain = chain_of(network)
    assert chain is not None
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for _, module in chain)
    with torch.no_grad():
        own, exact = network(images.clone()), nn.Sequential(*(module for _, module in chain))(images.clone())
        errors = [float((network_of(steps_of(chain, largest))(images) - own).std() / own.std()) for largest in (3, 31)]
    torch.testing.assert_close(exact, own, rtol=1e-4, atol=1e-4)
    assert errors[1] < 0.25
    assert errors[1] < errors[0] / 3


def test_steps_are_plain_and_say_what_a_layer_is() -> None:
    chain = chain_of(pruned_vgg())  # type: ignore[arg-type]
    assert chain is not None
    first, *_, last = (step for step in steps_of(chain, 3) if "weights" in step)
    assert first["op"] == "conv"
    assert (first["layer"], first["shape"], first["padding"]) == ("features.0", [8, 3, 3, 3], [1, 1])
    assert (last["op"], last["layer"], last["shape"]) == ("linear", "classifier.2", [10, 64])
    weights = dict(chain)["features.0"].weight.detach().flatten(1)
    numbers = torch.tensor([LETTERS.index(letter) - 32 for letter in first["weights"]]).view(8, 27)
    assert numbers.abs().amax(1).tolist() == [3] * 8
    spread = weights.abs().amax(1, keepdim=True) / 3
    assert bool(((numbers * spread - weights).abs() <= 0.52 * spread).all())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3 * 32 * 32, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.flatten(images + self.conv(images), 1))
        return logits


def with_hook() -> nn.Module:
    network = settled(Functional())
    network.second.register_forward_hook(lambda module, given, out: 2 * out)
    return network


TAIL = (nn.Flatten(), nn.Linear(4 * 32 * 32, 4))
OTHERS = {
    "a sum": Residual,
    "an unknown activation": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), *TAIL),
    "groups": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.Flatten(), nn.Linear(6 * 1024, 4)),
    "dilation": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), *TAIL),
    "other padding": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), *TAIL),
    "pooling rounded up": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.Linear(4 * 256, 4)
    ),
    "a norm after a ReLU": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), *TAIL),
    "no linear layer": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    "a hook": with_hook,
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_networks_are_no_chains(what: str) -> None:
    assert chain_of(trace(OTHERS[what]().eval(), SHAPE).network) is None
