"""A keep mask acts after the norm: the masked network equals the physically smaller one."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from raprune.engine.split import split
from raprune.network.graph import Traced, trace
from raprune.network.surgery import shrink
from raprune.plugins.models.vgg16 import Vgg16
from tests.tiny import lively_vgg

LAYERS = [f"features.{index}" for index in (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)]


def images(dtype: torch.dtype, number: int = 64) -> Tensor:
    return torch.randn(number, 3, 32, 32, dtype=dtype, generator=torch.Generator().manual_seed(1))


def random_mask(num_filters: int, seed: int) -> Tensor:
    """About a quarter pruned, never all."""
    mask = torch.rand(num_filters, generator=torch.Generator().manual_seed(seed)) < 0.75
    mask[seed % num_filters] = True
    mask[(seed + 1) % num_filters] = False
    return mask


def masked_after_norm(network: Vgg16, plan: dict[str, Tensor], x: Tensor) -> Tensor:
    """The whole network with channels zeroed at the output of the norm: written without the code under test."""
    hooks = []
    for layer, mask in plan.items():
        norm = network.features[int(layer.split(".")[1]) + 1]
        assert isinstance(norm, nn.BatchNorm2d)
        factor = mask.to(x.dtype)[None, :, None, None]
        hooks.append(norm.register_forward_hook(lambda _m, _i, out, factor=factor: out * factor))
    try:
        with torch.no_grad():
            return network(x)
    finally:
        for hook in hooks:
            hook.remove()


def agree(masked: Tensor, removed: Tensor) -> None:
    """Equal to rounding in float64; in float32 within 1e-5 of the largest logit, argmax equal unless nearly tied."""
    largest = float(masked.abs().max())
    if masked.dtype == torch.float64:
        torch.testing.assert_close(removed, masked, rtol=0, atol=1e-12 * largest)
        assert torch.equal(removed.argmax(1), masked.argmax(1))
        return
    torch.testing.assert_close(removed, masked, rtol=0, atol=1e-5 * largest)
    best_two = masked.topk(2).values
    clear = (best_two[:, 0] - best_two[:, 1]) > 2e-5 * largest
    assert torch.equal(removed.argmax(1)[clear], masked.argmax(1)[clear])


@cache
def network_and_traced(dtype: torch.dtype) -> tuple[Vgg16, Traced]:
    """One for all layers, which leave it as it is."""
    network = lively_vgg(0.125, dtype=dtype)
    return network, trace(network, (3, 32, 32))


EACH = [
    *((layer, torch.float64) for layer in LAYERS),
    *(pytest.param(layer, torch.float32, marks=[] if layer in LAYERS[::6] else pytest.mark.slow) for layer in LAYERS),
]
"""In float32 the first, the middle and the last; all of them together are below."""


@pytest.mark.parametrize(("layer", "dtype"), EACH, ids=str)
def test_each_layer(layer: str, dtype: torch.dtype) -> None:
    network, traced = network_and_traced(dtype)
    mask = random_mask(traced.graph.group(layer).num_filters, seed=LAYERS.index(layer))
    x = images(dtype, 32)
    expected = masked_after_norm(network, {layer: mask}, x)
    with torch.no_grad():
        agree(expected, shrink(traced, {layer: mask})(x))
        halves = split(traced.network, traced.graph, layer, {})
        assert halves is not None
        agree(expected, halves.candidate(mask)(halves.prefix(x)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("order", ["low_to_high", "high_to_low"])
def test_all_layers_together(order: str, dtype: torch.dtype) -> None:
    network = lively_vgg(0.125, seed=3, dtype=dtype)
    traced = trace(network, (3, 32, 32))
    names = LAYERS if order == "low_to_high" else LAYERS[::-1]
    plan = {layer: random_mask(traced.graph.group(layer).num_filters, seed) for seed, layer in enumerate(names)}
    x = images(dtype)
    with torch.no_grad():
        agree(masked_after_norm(network, plan, x), shrink(traced, plan)(x))


def test_zeroing_weights_before_the_norm_is_another_network() -> None:
    network = lively_vgg(0.125)
    traced = trace(network, (3, 32, 32))
    mask = random_mask(traced.graph.group("features.0").num_filters, 5)
    zeroed = copy.deepcopy(network)
    with torch.no_grad():
        for tensor in (zeroed.features[0].weight, zeroed.features[0].bias):
            tensor[~mask] = 0
        x = images(torch.float32)
        right = shrink(traced, {"features.0": mask})(x)
        assert float((zeroed(x) - right).abs().max()) > 1e-2 * float(right.abs().max())


def test_surgery_leaves_the_network_alone_and_trains() -> None:
    network = lively_vgg(0.125)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    traced = trace(network, (3, 32, 32))
    plan = {layer: random_mask(traced.graph.group(layer).num_filters, 7) for layer in LAYERS}
    smaller = shrink(traced, plan)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert smaller.get_submodule("features.0").out_channels == int(plan["features.0"].sum())
    assert smaller.get_submodule("features.3").in_channels == int(plan["features.0"].sum())
    assert smaller.get_submodule("features.1").num_features == int(plan["features.0"].sum())
    smaller.train()
    optimiser = torch.optim.SGD(smaller.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(smaller(images(torch.float32)), torch.arange(64) % 10)
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in smaller.parameters())
    old = smaller.get_submodule("features.0").weight.clone()
    optimiser.step()
    assert not torch.equal(old, smaller.get_submodule("features.0").weight)
