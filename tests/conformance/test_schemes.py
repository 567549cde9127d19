"""Every low-rank scheme: a pair of layers that takes the components, and what it declares is what it needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raprune.network.lowrank import collect, scheme_of
from raprune.network.lowrank.scheme import Layer, Responses, Scheme
from raprune.registry import SCHEMES, Plugin
from raprune.study.json_schema import study_schema
from raprune.study.postprocess import LowRankSpec
from tests.lowrank.networks import CONVS, LINEARS, around

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in SCHEMES])


def case(scheme: Scheme) -> tuple[Layer, Responses | None]:
    """A layer that ``scheme`` can factorise, with the responses that it declares to need."""
    layer = next(layer for layer in {**CONVS, **LINEARS}.values() if scheme.problem(layer) is None)
    traced, images = around(layer)
    inside = traced.network.get_submodule("layer")
    assert isinstance(inside, nn.Conv2d | nn.Linear)
    return inside, collect(traced.network, "layer", [images]) if scheme.needs_responses else None


@every
def test_a_study_can_name_it(plugin: Plugin) -> None:
    assert LowRankSpec(schemes=[plugin.name]).schemes == [plugin.name]
    low_rank = study_schema()["properties"]["postprocess"]["properties"]["low_rank"]
    assert plugin.name in low_rank["properties"]["schemes"]["items"]["enum"]


@every
def test_it_needs_what_it_declares(plugin: Plugin) -> None:
    scheme = scheme_of(plugin.name)
    assert plugin.declared == {"needs_responses": scheme.needs_responses}
    layer, responses = case(scheme)
    assert scheme.decompose(layer, responses).energies_R.numel() == scheme.full_rank(layer)


@every
def test_components_are_sorted_and_the_same_again(plugin: Plugin) -> None:
    scheme = scheme_of(plugin.name)
    layer, responses = case(scheme)
    first, again = (scheme.decompose(layer, responses) for _ in range(2))
    energies_R = first.energies_R
    assert energies_R.dtype == torch.float64
    assert (energies_R >= 0).all()
    assert (energies_R.diff() <= 0).all()
    assert all(torch.equal(tensor, again.tensors(2)[name]) for name, tensor in first.tensors(2).items())


@every
def test_its_pair_takes_its_components_at_every_rank(plugin: Plugin) -> None:
    scheme = scheme_of(plugin.name)
    layer, responses = case(scheme)
    components = scheme.decompose(layer, responses)
    for rank in range(1, scheme.full_rank(layer) + 1):
        pair = scheme.pair(layer, rank, layer.weight.device)
        pair.load_state_dict(components.tensors(rank))
        assert [name for name, _ in pair.named_children()] == ["first", "second"]
