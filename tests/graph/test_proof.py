"""The proof: what it draws, what it detects, how small a difference, and what it names."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.network.graph import Traced, trace
from raprune.preflight.equivalence import cuts_to_try, prove
from tests.graph.small import chain, net

SHAPE = (3, 8, 8)

COUNTING: dict[str, tuple[Any, set[str], str]] = {
    "a slice by another's channels": (lambda s, a, b: a[:, : b.size(1)] + b, set(), "number of channels"),
    "half of the channels": (lambda s, a, b: a[:, : a.shape[1] // 2], set(), "number of channels"),
    "a factor": (lambda s, a, b: a * b.shape[1] + b * 0.5, {"one"}, "number of channels"),
    "a share of all values": (lambda s, a, b: a / math.prod((4, 4)) + b / b.numel(), {"one"}, "number of channels"),
    "new zeros": (lambda s, a, b: a + torch.zeros(1, b.size(1), 1, 1), {"one"}, "number of channels"),
    "a shape of several": (lambda s, a, b: a.new_ones(b.shape) + a, set(), "number of channels"),
    "repeated": (lambda s, a, b: a.mean(1, True).repeat(1, b.shape[1], 1, 1) * a, set(), "it runs over channels"),
    "one channel spread": (lambda s, a, b: s.gate(a).expand(-1, b.size(1), -1, -1) * a, {"one"}, "number of channels"),
    "channels by a list": (lambda s, a, b: b[:, [0, s.width - 1]], set(), "by index"),
    "regrouped": (lambda s, a, b: b.view(-1, 2, b.shape[1] // 2, 8, 8).sum(1), set(), "number of channels"),
}


@pytest.mark.parametrize("what", list(COUNTING))
def test_what_computes_with_a_number_of_channels_keeps_them(what: str) -> None:
    between, pruned, why = COUNTING[what]
    network = net(_with_width(between), gate=nn.Conv2d(4, 1, 1))
    traced = trace(network, SHAPE)
    assert set(traced.graph.groups) - {"gate"} == pruned
    assert any(why in reason for reason in traced.graph.whole.values())
    if traced.graph.groups:
        prove(traced, SHAPE)


def _with_width(between: Any) -> Any:
    def changed(s: Any, a: Tensor, b: Tensor) -> Tensor:
        s.width = 4
        return between(s, a, b)

    return changed


def test_positions_and_batches_may_be_counted() -> None:
    network = net(lambda s, a, b: F.interpolate(F.avg_pool2d(a, 2), size=b.shape[-2:]) * len("ab") / b.size(2) + b)
    traced = trace(network, SHAPE)
    assert set(traced.graph.groups) == {"one", "two"}
    prove(traced, SHAPE)


def test_of_any_two_layers_one_is_cut_alone() -> None:
    graph = trace(chain(*[nn.Conv2d(3, 3, 1) for _ in range(12)]), SHAPE).graph
    drawn = list(cuts_to_try(graph, torch.Generator().manual_seed(0)))
    layers = list(graph.groups)
    assert len(drawn) == 3 + 2 * 4
    for one in layers:
        for other in layers:
            assert one == other or any(one in plan and other not in plan for plan in drawn)
    assert any(all(int(mask.sum()) == 1 for mask in plan.values()) for plan in drawn)


class Taken(nn.Module):
    """Adds what one branch has of channels to the other: with equal masks, or those that fit, it goes unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.one(x) * self.two(x))


def _untied(network: nn.Module) -> Traced:
    """A graph that says of two factors that each has channels of its own: a fault of ours, planted."""
    right = trace(network, SHAPE)
    separate = trace(net(lambda s, a, b: torch.cat([a, b], 1)), SHAPE).graph
    groups = {layer: separate.groups[layer] for layer in ("one", "two")}
    axes = tuple(axis for axis in separate.axes if not axis.tensor.startswith("last"))
    planted = dataclasses.replace(separate, groups=groups, axes=axes)
    return Traced(right.network, planted)


@pytest.mark.parametrize("seed", range(8))
def test_a_fault_is_found_under_every_seed_and_its_layers_are_named(seed: int) -> None:
    with pytest.raises(InputError, match=r"node mul .* where one, two are cut|node mul .* where (one|two) is cut"):
        prove(_untied(Taken()), SHAPE, seed)


class Deep(nn.Module):
    """A chain without norms whose rounding errors grow with every layer."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for conv in self.convs:
            x = torch.sin(9 * conv(x))  # each step makes a small difference some times larger
        return self.last(x)


def test_the_tolerance_is_that_of_one_node_however_deep_the_network_is() -> None:
    traced = trace(Deep(30).double(), SHAPE)
    plan = next(cuts_to_try(traced.graph, torch.Generator().manual_seed(0)))
    assert plan
    prove(traced, SHAPE)


@pytest.mark.parametrize("size", [1e-8, 1e-10])
def test_a_small_real_difference_is_found_where_it_is(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller than what depth made of rounding, and than the tolerance for it."""
    import raprune.preflight.equivalence as proof
    from raprune.network.surgery import refill

    def wrong(network: nn.Module, *args: Any) -> nn.Module:
        small = refill(network, *args)
        with torch.no_grad():
            small.get_submodule("convs.7").weight.mul_(1 + size)
        return small

    monkeypatch.setattr(proof, "refill", wrong)
    with pytest.raises(InputError, match=r"node convs_7 .* values that differ by up to"):
        prove(trace(Deep(12).double(), SHAPE), SHAPE)


def test_a_network_in_single_precision_alone_is_proved_too() -> None:
    network = net(lambda s, a, b: (a.float() + b.float()) * torch.ones(1, dtype=torch.float32))
    traced = trace(network, SHAPE)
    prove(traced, SHAPE)
    assert set(traced.graph.groups) == {"one", "two"}


class Fixed(nn.Module):
    """Takes two images for granted."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.one(x).flatten(2).view(2, 4, -1).mean(2))


def test_a_number_of_images_that_is_taken_for_granted_is_found() -> None:
    traced = trace(Fixed(), SHAPE)
    with pytest.raises(InputError, match=re.escape("3 images")):
        prove(traced, SHAPE)
