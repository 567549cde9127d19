"""Depthwise and grouped convolutions that lose all channels but one and regain them; paddings given by a word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.engine.kernels.program import compile_module
from raprune.network.graph import Traced, trace
from raprune.network.measure import count_macs
from raprune.network.surgery import cut_tensors, refill, shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.small import chain

SHAPE = (3, 9, 9)


def _one(number: int) -> Tensor:
    return torch.arange(number) == 0


NETWORKS: dict[str, tuple[Any, dict[str, Tensor]]] = {
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), {"0": _one(4)}),
    "two filters a channel": (lambda: nn.Conv2d(4, 8, 3, groups=4), {"0": _one(4)}),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=4), {"0": _one(4)}),
    "one channel a group": (
        lambda: nn.Conv2d(4, 8, 3, groups=2), {"0": _one(2), "1": torch.tensor([True, True, False, False])},
    ),
}  # fmt: skip


def _traced(middle: Any) -> Traced:
    torch.manual_seed(0)
    layer = middle()
    return trace(chain(nn.Conv2d(3, 4, 3), layer, nn.ReLU(), nn.Conv2d(layer.out_channels, 2, 1)).double(), SHAPE)


@pytest.mark.parametrize("what", list(NETWORKS))
def test_refilled_to_one_channel_and_back(what: str) -> None:
    middle, smallest = NETWORKS[what]
    traced = _traced(middle)
    graph, tensors = traced.graph, traced.network.state_dict()
    least = {layer: mask for layer, mask in smallest.items() if layer in graph.groups}
    plans = [least, {}, random_cuts(graph, torch.Generator().manual_seed(0)), least, {}]
    x = torch.randn(2, *SHAPE, dtype=torch.float64)
    scratch = shrink(traced, {})
    for plan in plans:
        refill(scratch, graph, plan, cut_tensors(graph, tensors, {}, plan))
        fresh = shrink(traced, plan)
        with torch.no_grad():
            assert torch.equal(scratch(x), fresh(x))
        for name, module in scratch.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                other = fresh.get_submodule(name)
                sizes = (module.in_channels, module.out_channels, module.groups)
                assert sizes == (other.in_channels, other.out_channels, other.groups)
                assert module.weight.shape == other.weight.shape
    prove(traced, SHAPE)


PADDINGS: dict[str, dict[str, Any]] = {
    "valid": {"padding": "valid"},
    "valid, strided": {"padding": "valid", "stride": 2},
    "same": {"padding": "same"},
    "same, even and dilated": {"padding": "same", "kernel_size": (2, 3), "dilation": (2, 1)},
    "reflected": {"padding": 1, "padding_mode": "reflect"},
    "circular, same": {"padding": "same", "padding_mode": "circular"},
    "replicated, dilated": {"padding": 2, "dilation": 2, "padding_mode": "replicate"},
}


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("what", list(PADDINGS))
def test_paddings(what: str, groups: int) -> None:
    settings = {"kernel_size": 3, **PADDINGS[what]}
    torch.manual_seed(0)
    network = chain(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, groups=groups, **settings), nn.ReLU(), nn.Conv2d(4, 2, 1))
    traced = trace(network, SHAPE)
    assert traced.graph.prunable() == (2, 2)
    prove(traced, SHAPE)
    plan = random_cuts(traced.graph, torch.Generator().manual_seed(3), keep=0.4)
    for small in (traced.network, shrink(traced, plan)):
        assert isinstance(small, torch.fx.GraphModule)
        x = torch.randn(2, *SHAPE)
        with torch.no_grad():
            torch.testing.assert_close(compile_module(small)(x), small(x), rtol=1e-4, atol=1e-5)
            rows, columns = small.get_submodule("1")(small.get_submodule("0")(x)).shape[2:]
        kernel = network[1].kernel_size[0] * network[1].kernel_size[1]
        kept = small.get_submodule("0").weight.shape[0]
        own = small.get_submodule("1").weight
        by_hand = 81 * 3 * kept + rows * columns * (own.shape[0] * own.shape[1] * kernel + 2 * own.shape[0])
        assert count_macs(small, SHAPE) == by_hand
