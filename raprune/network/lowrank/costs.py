"""The size of a layer as it is and at every rank, and which ranks save anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.network.lowrank.factorising import choose, layer_of, reasons_of
from raprune.network.lowrank.scheme import Layer, scheme_of
from raprune.network.lowrank.structure import layers_of
from raprune.network.measure import NetworkSize, count_bytes, count_params, layer_macs, one_image, size_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCosts:
    """A layer under a scheme that can factorise it."""

    layer: str
    scheme: str
    full_rank: int
    before: NetworkSize
    """As it is."""
    first: NetworkSize
    """At rank 1."""
    each: NetworkSize
    """Size that each further rank adds."""

    def at(self, rank: int) -> NetworkSize:
        """The pair at ``rank``."""
        return self.first.plus(self.each, rank - 1)

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

    def _largest(self, holds: Callable[[NetworkSize], bool]) -> int:
        return next((rank for rank in range(self.full_rank, 0, -1) if holds(self.at(rank))), 0)


@dataclass(frozen=True)
class Surveyed:
    """A convolution or linear layer of a network."""

    layer: str
    index: int
    """Place in the network, from 0."""
    before: NetworkSize
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
        before = NetworkSize(count_params(layer), seen[name].macs, count_bytes(layer))
        costs = None if scheme is None else _costs(layer_of(network, name), name, scheme, before, seen[name].inputs)
        found.append(Surveyed(name, index, before, costs, reason))
    return found


@dataclass
class _Seen:
    """Input shapes of a layer for one image, one per call, and its multiply-adds."""

    inputs: list[Shape] = field(default_factory=list)
    macs: int = 0


@torch.no_grad()
def _watch(network: fx.GraphModule, input_shape: Shape) -> dict[str, _Seen]:
    """Each layer as it runs on one image of ``input_shape`` (C, H, W)."""
    seen = {name: _Seen() for name in layers_of(network)}

    def hook(name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
        def see(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name].inputs.append(tuple(inputs[0].shape[1:]))
            seen[name].macs += layer_macs(layer, inputs[0], output)

        return see

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in seen]
    try:
        network(one_image(network, input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _costs(layer: Layer, name: str, scheme: str, before: NetworkSize, inputs: Sequence[Shape]) -> LayerCosts:
    """Counted on pairs on the meta device, like any network."""
    made = scheme_of(scheme)
    one, two = (size_of(made.pair(layer, rank, torch.device("meta")), *inputs) for rank in (1, 2))
    return LayerCosts(name, scheme, made.full_rank(layer), before, one, two.plus(one, -1))


def rank_for_energy(energies: Sequence[float], share: float) -> int:
    """The smallest rank that keeps this share of the energy."""
    wanted = share * sum(energies)
    return next((rank for rank, kept in enumerate(accumulate(energies), 1) if kept >= wanted), len(energies))


def energy_kept(energies: Sequence[float], rank: int) -> float:
    """Share of the energy in the first ``rank`` components; 1 if there is no energy."""
    whole = sum(energies)
    return min(1.0, sum(energies[:rank]) / whole) if whole > 0 else 1.0
