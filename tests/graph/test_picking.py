"""Channels selected by index: slices, chunks, splits and shuffles are followed, and no part runs empty."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.engine.kernels.program import compile_module
from raprune.network.graph import trace
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.small import net

SHAPE = (3, 8, 8)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """As ShuffleNet writes it."""
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


def permuted(x: Tensor, groups: int) -> Tensor:
    """The same in other words."""
    b, c, h, w = x.size()
    return torch.flatten(x.reshape(b, groups, c // groups, h, w).permute(0, 2, 1, 3, 4), 1, 2)


def chunks(x: Tensor, *widths: int) -> list[Tensor]:
    parts = torch.split(x, list(widths), 1)
    return [parts[place] for place in range(len(widths))]


PICKED: dict[str, tuple[Any, dict[str, int]]] = {
    "slices": (lambda s, a, b: a[:, 1:3] + b[:, :2], {"one": 3, "two": 3}),
    "from the end": (lambda s, a, b: a[:, -2:] + b[:, :2], {"one": 3, "two": 3}),
    "every second": (lambda s, a, b: a[:, ::2] * 2 + b[:, 1::2], {"one": 3, "two": 3}),
    "of a sum": (lambda s, a, b: (a + b)[:, :3], {"one": 3, "two": 4}),
    "half of a chunk": (lambda s, a, b: torch.cat([torch.chunk(a, 2, 1)[1], b], 1), {"one": 3, "two": 4}),
    "split and joined": (lambda s, a, b: torch.cat([F.relu(p) for p in chunks(a, 1, 3)], 1) + b, {"one": 2, "two": 4}),
    "split, a part skipped": (lambda s, a, b: s.deep(chunks(a, 2, 2)[0]) + b[:, :2], {"one": 3, "deep": 2, "two": 3}),
    "part of a part": (lambda s, a, b: (a + b)[:, 1:].relu()[:, 1:][:, :2] * 2, {"one": 3, "two": 4}),
    "positions": (lambda s, a, b: a.chunk(2, 2)[0] + b.chunk(2, 2)[1], {"one": 4, "two": 4}),
    "shuffle": (lambda s, a, b: shuffled(torch.cat([a, b], 1), 2), {"one": 4, "two": 4}),
    "shuffle in other words": (lambda s, a, b: permuted(torch.cat([a, b], 1), 4) * 2, {"one": 4, "two": 4}),
    "a shuffle's module": (lambda s, a, b: s.shuffle(a) + b, {"one": 4, "two": 4}),
    "a shuffle's function": (lambda s, a, b: F.channel_shuffle(a, 2) + b, {"one": 4, "two": 4}),
}


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("what", list(PICKED))
def test_channels_by_their_places(what: str, residual: str) -> None:
    between, widths = PICKED[what]
    network = net(between, shuffle=nn.ChannelShuffle(2), deep=nn.Conv2d(2, 2, 1))
    x = torch.randn(2, *SHAPE)
    expected = network(x)
    traced = trace(network, SHAPE, residual=residual)
    if residual == "independent":
        assert {layer: group.num_filters for layer, group in traced.graph.groups.items()} == widths
    torch.testing.assert_close(traced.network(x), expected)
    for seed in range(3):
        prove(traced, SHAPE, seed)
    small = shrink(traced, random_cuts(traced.graph, torch.Generator().manual_seed(0), keep=0.0))
    assert isinstance(small, torch.fx.GraphModule)
    torch.testing.assert_close(compile_module(small)(x), small(x))


def test_a_reshape_that_only_looks_like_a_shuffle_is_none() -> None:
    def mixed(s: Any, a: Tensor, b: Tensor) -> Tensor:
        return a.view(a.shape[0], 8, 4, 8).transpose(1, 2).reshape(b.shape) + b

    graph = trace(net(mixed), SHAPE).graph
    assert list(graph.groups) == ["two"]


def test_channels_that_stay_are_sliced_as_before() -> None:
    graph = trace(net(lambda s, a, b: torch.softmax(a, 1)[:, :2] + b[:, :2]), SHAPE).graph
    assert list(graph.groups) == ["two"]
    assert [site.module for site in graph.sites if "align" in site.module]
    assert trace(net(lambda s, a, b: torch.softmax(a, 1)[:, :2]), SHAPE).graph.sites == ()
