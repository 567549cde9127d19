"""Which layers of a network the schemes can factorise, and the network with some of its layers factorised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, fx, nn

from raprune.network.lowrank.factor import Factor
from raprune.network.lowrank.scheme import Layer, scheme_of
from raprune.network.lowrank.structure import insert_pair, layers_of, problem
from raprune.registry import SCHEMES


def layer_of(network: nn.Module, name: str) -> Layer:
    """The layer called ``name``, which can be factorised."""
    module = network.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def insert_factors(network: fx.GraphModule, factors: Mapping[str, Factor]) -> fx.GraphModule:
    """``network`` with its layers replaced as ``factors`` says, in place; their weights are not loaded yet."""
    for name, factor in factors.items():
        layer = layer_of(network, name)
        insert_pair(network, name, scheme_of(factor.scheme).pair(layer, factor.rank, layer.weight.device))
    return network


def factorised(tensors: Mapping[str, Tensor], name: str, pair: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A complete state dict with the layer ``name`` replaced by ``pair``, the state dict of its two layers."""
    dtype = tensors[f"{name}.weight"].dtype
    out = {key: tensor for key, tensor in tensors.items() if key not in (f"{name}.weight", f"{name}.bias")}
    return out | {f"{name}.{key}": tensor.to(dtype) for key, tensor in pair.items()}


Reasons = Mapping[str, Mapping[str, str | None]]
"""Convolution or linear layer -> scheme -> why it cannot factorise the layer, ``None`` where it can."""


def reasons_of(network: fx.GraphModule) -> Reasons:
    """For all layers, in the order in which they run, and all schemes."""
    return {name: _reasons(network, name) for name in layers_of(network)}


def _reasons(network: fx.GraphModule, name: str) -> dict[str, str | None]:
    if (reason := problem(network, name)) is not None:
        return dict.fromkeys(SCHEMES.names(), reason)
    return {scheme: scheme_of(scheme).problem(layer_of(network, name)) for scheme in SCHEMES.names()}


Ranks = Mapping[str, Mapping[str, int]]
"""Convolution or linear layer -> scheme that can factorise it -> its full rank."""


def full_ranks(network: fx.GraphModule) -> Ranks:
    """For all layers, in the order in which they run."""
    return {
        name: {s: scheme_of(s).full_rank(layer_of(network, name)) for s, reason in reasons.items() if reason is None}
        for name, reasons in reasons_of(network).items()
    }


def choose(reasons: Mapping[str, str | None], schemes: Sequence[str]) -> tuple[str | None, str | None]:
    """The first of ``schemes`` that can factorise a layer; or none, and why."""
    scheme = next((scheme for scheme in schemes if reasons[scheme] is None), None)
    return scheme, None if scheme else "; ".join(dict.fromkeys(str(reasons[scheme]) for scheme in schemes))
