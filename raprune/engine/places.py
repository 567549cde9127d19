"""Where the channels of a layer are read, and where its keep mask acts: at the inputs of the nodes that mix channels.

Legend: N filters, C channels of a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from raprune.engine.kernels.program import Program, compile_module
from raprune.engine.split import above_and_crossing
from raprune.network.graph import Graph, Group, Traced, present
from raprune.network.graph.units import Kept
from raprune.network.graph.walk import NORMS

Owners = npt.NDArray[np.int64]
"""(C,): the filter to which each channel of a value belongs; -1 for channels that stay when any one filter goes."""


class Places:
    """The places of a layer in the network of a state; filters are numbered among those that are left of it."""

    def __init__(self, network: fx.GraphModule, graph: Graph, group: Group, kept: Kept) -> None:
        self.network = network
        self.graph = graph
        self.group = group
        self.kept = kept
        self.read: list[tuple[fx.Node, fx.Node, Owners]] = []
        """Node that mixes channels, a value that it reads, and the value's owners."""
        for node in network.graph.nodes:
            if node.name in group.consumers:
                owned = ((source, self.owners(source.name)) for source in node.all_input_nodes)
                self.read += [(node, source, owners) for source, owners in owned if (owners >= 0).any()]

        self.above, self.crossing = above_and_crossing(network, group)

    def owners(self, value: str) -> Owners:
        """The owners of the channels of a node's value."""
        ids = self.graph.values.get(value)
        if ids is None:
            return np.empty(0, dtype=np.int64)
        return owners_of(ids, self.group, self.kept)

    def activations(self) -> list[tuple[fx.Node, Owners]]:
        """The values after the norm and the activation function, before pooling and reshaping."""
        found: dict[fx.Node, Owners] = {}
        for _, source, owners in self.read:
            node = self._before_pooling(source)
            found[node] = owners if node is source else self.owners(node.name)
        return list(found.items())

    def _before_pooling(self, node: fx.Node) -> fx.Node:
        """The first value from which ``node`` follows by changes of shape alone, such as pooling and flattening."""
        while True:
            inputs = [source for source in node.all_input_nodes if (self.owners(source.name) >= 0).any()]
            is_reader = node.name in self.group.consumers or any(node.target == m.layer for m in self.group.members)
            if len(inputs) != 1 or len(node.all_input_nodes) != 1 or is_reader:
                return node
            (source,) = inputs
            if _shape(source) == _shape(node) is not None:
                return node
            node = source


def owners_of(ids: npt.NDArray[np.int64], group: Group, kept: Kept) -> Owners:
    """The owners of the channels with ``ids`` (K, C) that a state keeps: a channel goes with the only unit it has."""
    ids = ids[:, present(ids, kept)]
    place, left = np.full(len(kept), -1), group.units[kept[group.units]]
    place[left] = np.arange(len(left))
    alive, entry = kept[ids], place[ids]
    highest = np.where(alive, entry, -1).max(0)
    lowest = np.where(alive, entry, len(kept)).min(0)
    return np.where(highest == lowest, highest, -1)


def scales_of(traced: Traced, group: Group, kept: Kept) -> dict[str, Owners]:
    """Weights of norms that scale channels of the group's filters -> the owners of their entries."""
    found: dict[str, Owners] = {}
    for axis in traced.graph.axes:
        norm, _, last = axis.tensor.rpartition(".")
        if last == "weight" and isinstance(traced.network.get_submodule(norm), NORMS):
            owners = owners_of(axis.ids, group, kept)
            found |= {axis.tensor: owners} if (owners >= 0).any() else {}
    return found


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of a node's tensor; ``None`` where it returns several."""
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape)


def values_of(network: fx.GraphModule, nodes: Iterable[fx.Node]) -> Program:
    """A program from images to the values of ``nodes``; it runs nothing above them."""
    wanted = list(nodes)
    needed = set(wanted)
    for node in reversed(network.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    part, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in network.graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in wanted))
    return compile_module(network, part=part)


def by_filter(values_BC: Tensor, owners: Owners) -> tuple[Tensor, Tensor]:
    """Channels by filter: (B, n, H, W) for the n filters that have channels here, and their numbers, (n,).

    The channels of one filter lie below each other; if filters have different numbers of channels, each has its first.
    """
    filters, counts = np.unique(owners[owners >= 0], return_counts=True)
    columns = np.stack([np.flatnonzero(owners == one)[: counts.min()] for one in filters])
    index = torch.from_numpy(columns.reshape(-1)).to(values_BC.device)
    picked = values_BC.index_select(1, index)
    width = picked.shape[3] if picked.dim() == 4 else 1
    return picked.reshape(len(picked), len(filters), -1, width), torch.from_numpy(filters)


class Gated(fx.Interpreter):
    """Runs the nodes that mix a layer's channels, and all above them, with a gate on each filter's channels."""

    def __init__(self, places: Places, device: torch.device) -> None:
        super().__init__(places.network)
        self._num_filters = int(places.kept[places.group.units].sum())
        self._below = {node: None for node in places.network.graph.nodes if node not in places.above}
        self._owners = {
            (node, source): torch.from_numpy(np.where(owners < 0, self._num_filters, owners)).to(device)
            for node, source, owners in places.read
        }
        self._gates_BN = torch.ones(0)

    def gated(self, values: dict[fx.Node, Any], gates_BN: Tensor) -> Tensor:
        """The network's output from the crossing ``values``; ``gates_BN`` has one row per image, or one for all."""
        ones = gates_BN.new_ones(len(gates_BN), 1)
        self._gates_BN = torch.cat([gates_BN, ones], 1)
        copies = {node: value.clone() if isinstance(value, Tensor) else value for node, value in values.items()}
        output = self.run(initial_env={**self._below, **copies})
        assert isinstance(output, Tensor)
        return output

    def run_node(self, n: fx.Node) -> Any:
        """As the base class, with gated inputs."""
        args, kwargs = fx.node.map_arg((n.args, n.kwargs), lambda source: self._input(n, source))
        return getattr(self, n.op)(n.target, args, kwargs)

    def _input(self, node: fx.Node, source: fx.Node) -> Any:
        value, owners = self.env[source], self._owners.get((node, source))
        if owners is None:
            return value
        gates_BC = self._gates_BN.index_select(1, owners)
        return value.clone() * gates_BC.reshape(*gates_BC.shape, *[1] * (value.dim() - 2))
