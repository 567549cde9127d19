"""A user's modules with the names of raprune's or torch.fx's: both keep their meaning, or are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.preflight.equivalence import prove


class Named(nn.Module):
    """Every name that raprune gives to a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.align_0, self.align_1 = nn.Conv2d(8, 8, 1), nn.Parameter(torch.ones(1))
        self.first, self.dropout_0, self.dropout_1 = nn.Dropout(0.1), nn.Dropout(0.5), nn.Conv2d(8, 6, 1)
        self.dropout_by_mode, self.last = nn.Conv2d(6, 6, 1), nn.Linear(6, 2)
        self.register_buffer("align_0_1", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.first(self.one(x)) + self.align_0(x)) * self.align_1 * self.align_0_1
        x = F.dropout(self.dropout_by_mode(self.dropout_1(x)), 0.25, self.training)
        return self.last(self.dropout_0(x.mean((2, 3))))


def test_our_modules_get_names_that_the_network_does_not_have() -> None:
    network = Named()
    before = {name: type(module) for name, module in network.named_modules() if name}
    keys = set(network.state_dict())
    traced = trace(network, (1, 8, 8))
    assert {name: type(module) for name, module in network.named_modules() if name} == before
    assert set(traced.network.state_dict()) == keys
    convs = ("align_0", "dropout_1", "dropout_by_mode")
    assert all(type(traced.network.get_submodule(name)) is nn.Conv2d for name in convs)
    assert sorted(m.p for m in traced.network.modules() if hasattr(m, "p")) == [0.1, 0.25, 0.5]
    assert len(traced.graph.dropouts) == 3
    prove(traced, (1, 8, 8))


@pytest.mark.parametrize("name", ["graph", "code", "meta", "lambda", "class", "None", 'a"b', "recompile", "_graph"])
@pytest.mark.parametrize("inside", [False, True])
def test_names_that_a_traced_network_cannot_have_are_refused(name: str, inside: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3))
    inner = nn.Sequential() if inside else network
    inner.add_module(name, nn.Conv2d(4, 4, 3))
    if inside:
        network.add_module("inner", inner)
    network.add_module("last", nn.Conv2d(4, 2, 1))
    if inside and name in ("graph", "code", "meta", "recompile", "_graph"):
        assert f"inner.{name}" in trace(network, (1, 8, 8)).graph.groups
        return
    with pytest.raises(InputError, match=f"rename these modules:\n  {'inner.' if inside else ''}{name}: "):
        trace(network, (1, 8, 8))


@pytest.mark.parametrize("name", ["1x1", "self", "torch", "x", "input", "size", "_tensor_constant0", "conv-1", "été"])
def test_other_names_are_the_users(name: str) -> None:
    network = nn.Sequential()
    for key, module in {"stem": nn.Conv2d(1, 4, 3), name: nn.Conv2d(4, 4, 3), "last": nn.Conv2d(4, 2, 1)}.items():
        network.add_module(key, module)
    traced = trace(network, (1, 8, 8))
    assert list(traced.graph.groups) == ["stem", name]
    prove(traced, (1, 8, 8))
