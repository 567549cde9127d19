"""A network whose pruned filters stay in it: their channels are zeroed wherever they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, nn

from raprune.network.graph import Cuts, Graph, Group, present
from raprune.network.graph.units import Ids


def mask_channels(network: fx.GraphModule, graph: Graph, old: Cuts, new: Cuts) -> fx.GraphModule:
    """Zero the channels that ``new`` prunes and ``old`` does not wherever they are read, in place.

    ``network`` is the network of ``old``.
    """
    changed = [graph.group(layer) for layer, mask in new.items() if layer not in old or not mask.equal(old[layer])]
    keeps = Keeps(network, graph, old, changed)
    for name, factor_C in keeps.factors(new).items():
        network.get_buffer(name).copy_(factor_C)
    return network


class Keeps:
    """Where the channels of some layers are read in the network of the cuts ``old``: a :class:`Keep` at each place.

    Channels are read by the nodes that mix them, and by the sums that put them into another layout. The network is
    changed in place and computes what it did, until a factor is set.
    """

    def __init__(self, network: fx.GraphModule, graph: Graph, old: Cuts, groups: Sequence[Group]) -> None:
        self._graph = graph
        self._ids: dict[str, Ids] = {}
        """Buffer of a place -> ids of the channels there."""
        before, readers = graph.kept(old), set(_readers(network, graph, groups))
        for node in list(network.graph.nodes):
            ids = graph.values.get(node.name)
            users = [user for user in node.users if user in readers]
            if ids is None or not users or not any(graph.touches(ids, group) for group in groups):
                continue
            name = f"keep_{node.name}"
            self._ids[f"{name}.factor"] = here = ids[:, present(ids, before)]
            network.add_submodule(name, Keep(here.shape[1]))
            with network.graph.inserting_after(node):
                masked = network.graph.call_module(name, (node,))
            for user in users:
                user.replace_input_with(node, masked)
        network.recompile()

    def factors(self, new: Cuts) -> dict[str, Tensor]:
        """Buffer of a place -> the factor of each channel there, (C,): 0 where ``new`` prunes its filter, else 1."""
        after = self._graph.kept(new)
        dtype = torch.get_default_dtype()
        return {name: torch.from_numpy(present(ids, after)).to(dtype) for name, ids in self._ids.items()}


class Keep(nn.Module):
    """Multiplies each channel by a factor of 0 or 1."""

    factor: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(num_channels), persistent=False)

    def forward(self, values_BC: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return values_BC * self.factor.view(1, -1, *[1] * (values_BC.dim() - 2)).to(values_BC.dtype)


def _readers(network: fx.GraphModule, graph: Graph, groups: Sequence[Group]) -> Iterator[fx.Node]:
    sites, consumers = {site.module for site in graph.sites}, {name for group in groups for name in group.consumers}
    for node in network.graph.nodes:
        if node.name in consumers or (node.op == "call_module" and node.target in sites):
            yield node
