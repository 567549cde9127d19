"""Every scheme on every geometry: the same function at full rank; below, the discarded energy is its error."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from raprune.network.graph import Traced
from raprune.network.lowrank import Factor, collect, scheme_of
from raprune.network.state import State
from raprune.network.surgery import build
from raprune.registry import SCHEMES
from tests.lowrank.networks import CONVS, LINEARS, around, decompose

CASES = [
    pytest.param(scheme, layer, id=f"{scheme}: {name}")
    for scheme in SCHEMES.names()
    for name, layer in {**CONVS, **LINEARS}.items()
    if scheme_of(scheme).problem(layer) is None
]
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
every = pytest.mark.parametrize(("scheme", "layer"), CASES)


def at_rank(traced: Traced, scheme: str, rank: int, images: Tensor) -> nn.Module:
    """The network with the layer factorised, by way of a state."""
    weights = traced.network.state_dict()
    pair = decompose(traced, scheme, images).tensors(rank)
    state = State.baseline("b").factorised(traced.graph, weights, "layer", Factor(scheme, rank), pair)
    return build(traced, {}, state.tensors(traced.graph, weights), state.factors).eval()


@every
@torch.no_grad()
def test_full_rank_is_the_same_function(scheme: str, layer: nn.Conv2d | nn.Linear) -> None:
    traced, images = around(copy.deepcopy(layer))
    network = at_rank(traced, scheme, scheme_of(scheme).full_rank(layer), images)
    expected, found = traced.network(images), network(images)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


@every
@torch.no_grad()
def test_the_error_is_the_energy_left_out(scheme: str, layer: nn.Conv2d | nn.Linear) -> None:
    traced, images = around(copy.deepcopy(layer))
    found = decompose(traced, scheme, images)
    energies = found.energies_R
    assert (energies.diff() <= 1e-9).all()
    assert len(energies) == scheme_of(scheme).full_rank(layer)
    if scheme_of(scheme).needs_responses:
        return  # test_responses: its error is that of the responses
    weight = traced.network.get_submodule("layer").weight
    for rank in {1, len(energies) // 2, len(energies)} - {0}:
        pair = found.tensors(rank)
        first, second = pair["first.weight"], pair["second.weight"]
        if scheme == "separable":
            product = torch.einsum("rchx,nryw->nchw", first, second)
        else:
            product = (second.flatten(1) @ first.flatten(1)).view_as(weight)
        error = (weight - product).square().sum()
        torch.testing.assert_close(error, energies[rank:].sum(), rtol=1e-9, atol=1e-9 * float(energies.sum()))


@every
def test_both_factors_of_a_component_are_equally_long(scheme: str, layer: nn.Conv2d | nn.Linear) -> None:
    traced, images = around(copy.deepcopy(layer))
    pair = decompose(traced, scheme, images).tensors(1)
    torch.testing.assert_close(pair["first.weight"].norm(), pair["second.weight"].norm(), rtol=1e-9, atol=0)


@torch.no_grad()
def test_responses_are_kept_as_well_as_their_covariance_says() -> None:
    """The mean stays, and the error over the images is the variance left out, up to the white share mixed in."""
    traced, images = around(copy.deepcopy(CONVS["3x3"]))
    found, layer = decompose(traced, "response_svd", images), traced.network.get_submodule("layer")
    inputs = torch.relu(traced.network.before(images))
    expected = layer(inputs)
    variance = expected.var((0, 2, 3), correction=0).sum()
    errors = []
    for rank in range(1, 8):
        pair = found.tensors(rank)
        first = nn.functional.conv2d(inputs, pair["first.weight"], padding=1)
        given = nn.functional.conv2d(first, pair["second.weight"], pair["second.bias"])
        torch.testing.assert_close(given.mean((0, 2, 3)), expected.mean((0, 2, 3)), rtol=1e-9, atol=1e-9)
        error = (given - expected).square().mean((0, 2, 3)).sum()
        errors.append(float(error))
        assert float(error) == pytest.approx(float(found.energies_R[rank:].sum()), abs=2e-3 * float(variance))
    assert errors == sorted(errors, reverse=True)


@torch.no_grad()
def test_responses_decide_where_inputs_are_not_white() -> None:
    """The largest filter reads a channel that is silent: the weight's best rank 1 gives nothing, the responses' all."""
    layer = nn.Conv2d(2, 2, 1, bias=False).double()
    layer.weight.copy_(torch.tensor([[100.0, 0.0], [0.0, 1.0]])[:, :, None, None])
    images = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images[:, 0] = 0
    network, expected = nn.Sequential(nn.Identity(), layer), layer(images)
    network.layer = layer
    for scheme, right in (("svd", False), ("response_svd", True)):
        responses = collect(network, "layer", [images]) if scheme_of(scheme).needs_responses else None
        pair = scheme_of(scheme).decompose(layer, responses).tensors(1)
        first = nn.functional.conv2d(images, pair["first.weight"])
        given = nn.functional.conv2d(first, pair["second.weight"], pair.get("second.bias"))
        assert torch.allclose(given, expected, atol=1e-9) is right


def test_a_layer_of_zeros_has_factors_too() -> None:
    layer = nn.Linear(4, 3).double()
    nn.init.zeros_(layer.weight)
    for scheme in ("svd", "response_svd"):
        traced, images = around(layer)
        with torch.no_grad():
            traced.network.layer.weight.zero_()
            network = at_rank(traced, scheme, 2, images)
            torch.testing.assert_close(network(images), traced.network(images))
