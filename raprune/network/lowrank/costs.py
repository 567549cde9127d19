"""What a layer weighs as it is and at every rank, and which ranks are worth it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.network.lowrank.factorising import choose, layer_of, reasons_of
from raprune.network.lowrank.scheme import Layer, scheme_of
from raprune.network.lowrank.structure import layers_of
from raprune.network.measure import count_bytes, count_macs, count_params

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Of one layer, or of the two in its place."""

    params: int
    macs: int
    model_bytes: int


@dataclass(frozen=True)
class LayerCosts:
    """A layer under a scheme that can factorise it."""

    layer: str
    scheme: str
    full_rank: int
    before: Cost
    """As it is."""
    first: Cost
    """At rank 1."""
    each: Cost
    """What every further rank adds."""

    def at(self, rank: int) -> Cost:
        """The pair at ``rank``."""
        more, first, each = rank - 1, self.first, self.each
        return Cost(
            first.params + more * each.params,
            first.macs + more * each.macs,
            first.model_bytes + more * each.model_bytes,
        )

    @property
    def max_rank(self) -> int:
        """The largest rank with both fewer parameters and fewer multiply-adds than the layer; 0 for none."""
        return self._largest(lambda pair: pair.params < self.before.params and pair.macs < self.before.macs)

    @property
    def largest_saving(self) -> int:
        """Parameters that rank 1 would save."""
        return self.before.params - self.first.params

    def rank_for_ratio(self, ratio: float) -> int:
        """The largest rank with at most this share of the layer's parameters; 0 for none."""
        return self._largest(lambda pair: pair.params <= ratio * self.before.params)

    def _largest(self, holds: Callable[[Cost], bool]) -> int:
        return next((rank for rank in range(self.full_rank, 0, -1) if holds(self.at(rank))), 0)


@dataclass(frozen=True)
class Surveyed:
    """A convolution or linear layer of a network."""

    layer: str
    index: int
    """Place in the network, from 0."""
    before: Cost
    costs: LayerCosts | None
    """Under the first scheme that can factorise it."""
    reason: str | None
    """Why none can."""


def survey(network: fx.GraphModule, schemes: Sequence[str], input_shape: Shape) -> list[Surveyed]:
    """All convolutions and linear layers, from low to high, with what ``schemes`` can do for images of a shape."""
    seen = _watch(network, input_shape)
    found = []
    for index, (name, reasons) in enumerate(reasons_of(network).items()):
        scheme, reason = choose(reasons, schemes)
        layer = network.get_submodule(name)
        before = Cost(count_params(layer), seen[name].macs, count_bytes(layer))
        costs = None if scheme is None else _costs(layer_of(network, name), name, scheme, before, seen[name].inputs)
        found.append(Surveyed(name, index, before, costs, reason))
    return found


@dataclass
class _Seen:
    """What a layer read for one image, call by call, and what it multiplied."""

    inputs: list[Shape] = field(default_factory=list)
    macs: int = 0


@torch.no_grad()
def _watch(network: fx.GraphModule, input_shape: Shape) -> dict[str, _Seen]:
    """Each layer as it runs on one image of ``input_shape`` (C, H, W)."""
    seen = {name: _Seen() for name in layers_of(network)}

    def see(name: str, weight: Tensor, source: Tensor, output: Tensor) -> None:
        transposed = isinstance(network.get_submodule(name), nn.ConvTranspose2d)
        seen[name].inputs.append(tuple(source.shape[1:]))
        seen[name].macs += (source if transposed else output)[0].numel() * math.prod(weight.shape[1:])

    def hook(name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: see(name, module.weight, inputs[0], output)

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in seen]
    parameter = next(network.parameters())
    try:
        network(torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _costs(layer: Layer, name: str, scheme: str, before: Cost, inputs: Sequence[Shape]) -> LayerCosts:
    one, two = (_pair_cost(layer, scheme, rank, inputs) for rank in (1, 2))
    each = Cost(two.params - one.params, two.macs - one.macs, two.model_bytes - one.model_bytes)
    return LayerCosts(name, scheme, scheme_of(scheme).full_rank(layer), before, one, each)


def _pair_cost(layer: Layer, scheme: str, rank: int, inputs: Sequence[Shape]) -> Cost:
    """Counted on a pair without memory, as any network is counted."""
    pair = scheme_of(scheme).pair(layer, rank, torch.device("meta"))
    return Cost(count_params(pair), sum(count_macs(pair, shape) for shape in inputs), count_bytes(pair))


def rank_for_energy(energies: Sequence[float], share: float) -> int:
    """The smallest rank that keeps this share of the energy."""
    wanted = share * sum(energies)
    return next((rank for rank, kept in enumerate(accumulate(energies), 1) if kept >= wanted), len(energies))


def energy_kept(energies: Sequence[float], rank: int) -> float:
    """Share of the energy in the first ``rank`` components; of nothing, all."""
    whole = sum(energies)
    return min(1.0, sum(energies[:rank]) / whole) if whole > 0 else 1.0
