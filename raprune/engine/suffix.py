"""The part of a network above the decided layer as a module of its own, to be trained or to have its norms measured.

The part below stays as it is in eval mode, so what it gives for a training batch is the same for all candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raprune.engine.kernels.convolutions import FusedConv
from raprune.engine.kernels.program import Program, compile_module
from raprune.engine.split import Crossing
from raprune.network.graph import Graph, Group, Plan, present
from raprune.network.graph.module import held_in_eval, part_of
from raprune.network.graph.units import Ids


@dataclass(frozen=True)
class Below:
    """The part of a state's network below what reads a layer, and what its values have of the state's channels."""

    prefix: Program
    graph: Graph
    plan: Plan
    layer: str
    crossing: tuple[Ids | None, ...]
    """For each value that crosses the units of its channels; ``None`` where the layer's mask does not change it."""

    def indices(self, mask: Tensor) -> list[Tensor | None]:
        """For each value that crosses the channels that stay with the layer cut to ``mask``; ``None`` for all."""
        kept = self.graph.kept({**self.plan, self.layer: mask})
        stays = [None if ids is None else present(ids, kept) for ids in self.crossing]
        return [None if some is None or some.all() else torch.from_numpy(some.nonzero()[0]) for some in stays]


def below(network: fx.GraphModule, graph: Graph, layer: str, plan: Plan, convs: dict[str, FusedConv]) -> Below:
    """What of ``network``, that of ``plan`` in eval mode, lies below what reads ``layer``."""
    group, kept = graph.group(layer), graph.kept(plan)
    prefix, _, crossing = _divide(network, group)
    found = [graph.values.get(name) for name in crossing]
    changed = [None if ids is None or not graph.touches(ids, group) else ids for ids in found]
    units = tuple(None if ids is None else ids[:, present(ids, kept)] for ids in changed)
    return Below(compile_module(fx.GraphModule(network, prefix), convs), graph, plan, layer, units)


def above(network: fx.GraphModule, graph: Graph, layer: str) -> fx.GraphModule:
    """What of ``network`` reads ``layer``, to the output: crossing values to logits, with the network's own modules."""
    return part_of(network, _divide(network, graph.group(layer))[1])


def recalibrate(network: nn.Module, batches: Iterable[Crossing]) -> None:
    """Batch norms' running statistics become the plain average over ``batches``; the network is left in eval mode.

    Norms that are held in eval mode when the network trains keep theirs.
    """
    held = held_in_eval(network)
    named = [(name, m) for name, m in network.eval().named_modules() if isinstance(m, _BatchNorm)]
    norms = [norm for name, norm in named if norm.track_running_stats and name not in held]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts alike
        norm.train()
    try:
        with torch.no_grad():
            for values in batches:
                network(*values)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _divide(network: fx.GraphModule, group: Group) -> tuple[fx.Graph, fx.Graph, list[str]]:
    """Graphs of the parts below and above the point where the group's mask acts, and the nodes that cross it."""
    nodes = list(network.graph.nodes)
    upper: set[fx.Node] = set()
    for node in nodes:
        if node.name in group.consumers or any(source in upper for source in node.all_input_nodes):
            upper.add(node)
    crossing = [n for n in nodes if n not in upper and n.op != "output" and any(user in upper for user in n.users)]
    prefix, suffix = fx.Graph(), fx.Graph()
    lower: dict[fx.Node, fx.Node] = {}
    copies = {node: suffix.placeholder(node.name) for node in crossing}
    for node in nodes:
        if node in upper:
            copies[node] = suffix.node_copy(node, copies.__getitem__)
        elif node.op != "output":
            lower[node] = prefix.node_copy(node, lower.__getitem__)
    prefix.output(tuple(lower[node] for node in crossing))
    return prefix, suffix, [node.name for node in crossing]
