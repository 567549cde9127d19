"""Multiply-adds and parameters of a network as functions of its cuts, without building the smaller network."""

from __future__ import annotations

import math

from raprune.network.graph import Cuts, Traced, present
from raprune.network.measure import macs_of_layers


class Costs:
    """Counts from the shapes of tensors: a value of a weight is multiplied as often as in the whole network."""

    def __init__(self, traced: Traced, input_shape: tuple[int, int, int]) -> None:
        """Runs the whole network once, for one image."""
        self.graph, network = traced.graph, traced.network
        self._parameters = {name for name, _ in network.named_parameters()}
        tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
        self._shapes = {name: list(tensor.shape) for name, tensor in tensors}
        self._macs = {f"{layer}.weight": macs for layer, macs in macs_of_layers(network, input_shape).items()}
        """Weight -> multiply-adds with it while nothing is pruned."""

    def macs(self, cuts: Cuts) -> int:
        """Multiply-adds for one image of the network with ``cuts``."""
        shapes = self._cut(cuts)
        return sum(macs * math.prod(shapes[name]) // math.prod(self._shapes[name]) for name, macs in self._macs.items())

    def params(self, cuts: Cuts) -> int:
        """Numbers in weights, biases and norms of the network with ``cuts``."""
        shapes = self._cut(cuts)
        return sum(math.prod(shapes[name]) for name in self._parameters)

    def own_macs(self, layer: str) -> int:
        """Multiply-adds for one image of the convolutions that ``layer`` stands for, nothing pruned."""
        return sum(self._macs[f"{member.layer}.weight"] for member in self.graph.group(layer).members)

    def _cut(self, cuts: Cuts) -> dict[str, list[int]]:
        kept = self.graph.kept(cuts)
        shapes = {name: list(shape) for name, shape in self._shapes.items()}
        for axis in self.graph.axes:
            shapes[axis.tensor][axis.dim] = int(present(axis.ids, kept).sum())
        return shapes
