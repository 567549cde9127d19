"""A network cut in two at the point where one layer's keep mask acts.

Everything below that point is the same for all candidates of the layer, so it is computed once (the prefix); a
candidate only runs the part above it (the suffix), on the channels that it keeps. Exact, up to the order of sums in
the layers that consume the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from raprune.graph import Axis, Graph, Group, Plan, present
from raprune.graph.convolutions import is_depthwise
from raprune.graph.units import Ids, Kept

Crossing = tuple[Any, ...]
"""Values (tensors, or sizes) that the prefix gives to the suffix for one batch."""


@dataclass(frozen=True)
class Halves:
    """``suffix(*prefix(images))`` is the network of a state in which ``layer`` is whole."""

    prefix: fx.GraphModule
    suffix: fx.GraphModule
    graph: Graph
    layer: str
    plan: Plan
    """Of the state."""
    crossing: tuple[Ids | None, ...]
    """For each crossing value the units of its channels; ``None`` where the layer's mask does not change it."""
    axes: tuple[Axis, ...]
    """Tensors of the suffix that lose entries with the layer's filters, by what the state has of them."""

    def candidate(self, mask: Tensor) -> Callable[[Crossing], Tensor]:
        """Crossing values of a batch to logits, for the network with the layer cut to ``mask``."""
        if bool(mask.all()):
            return lambda values: _tensor(self.suffix(*values))
        kept = self.graph.kept({**self.plan, self.layer: mask})
        device = next(self.suffix.parameters()).device
        replaced: dict[str, Tensor] = {}
        for axis in self.axes:
            index = _index(axis.ids, kept, device)
            if index is not None:  # a convolution may read and give channels of one group
                tensor = replaced.get(axis.tensor, _get(self.suffix, axis.tensor))
                replaced[axis.tensor] = _select(tensor, axis.dim, index)
        modules = {name for name, _ in self.suffix.named_modules()}
        for site in self.graph.sites:
            if site.module in modules:
                replaced[f"{site.module}.index"] = site.index(kept).to(device)
        indices = [None if ids is None else _index(ids, kept, device) for ids in self.crossing]

        def logits(values: Crossing) -> Tensor:
            some = tuple(v if i is None else _select(v, 1, i) for v, i in zip(values, indices, strict=True))
            return _tensor(functional_call(self.suffix, replaced, some, tie_weights=False))

        return logits


def split(network: fx.GraphModule, graph: Graph, layer: str, plan: Plan) -> Halves | None:
    """Cut the network of ``plan`` below what reads ``layer``; the halves share its modules.

    ``None`` where a depthwise convolution above that follows the layer: its number of groups is not a tensor.
    """
    group, kept = graph.group(layer), graph.kept(plan)
    nodes = list(network.graph.nodes)
    above = _above(nodes, group)
    inside = {str(node.target) for node in above if node.op == "call_module"}
    touched = [a for a in graph.axes if a.tensor.rpartition(".")[0] in inside and graph.touches(a.ids, group)]
    if any(is_depthwise(network.get_submodule(axis.tensor.rpartition(".")[0])) for axis in touched):
        return None
    crossing = [n for n in nodes if n not in above and n.op != "output" and any(user in above for user in n.users)]
    prefix = fx.Graph()
    below: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node not in above and node.op != "output":
            below[node] = prefix.node_copy(node, lambda n: below[n])
    prefix.output(tuple(below[node] for node in crossing))
    suffix = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in crossing:
        copies[node] = suffix.placeholder(node.name)
    for node in nodes:
        if node in above:
            copies[node] = suffix.node_copy(node, lambda n: copies[n])
    return Halves(
        prefix=fx.GraphModule(network, prefix),
        suffix=fx.GraphModule(network, suffix),
        graph=graph,
        layer=layer,
        plan=plan,
        crossing=tuple(_crossing_ids(graph, group, kept, node) for node in crossing),
        axes=tuple(Axis(a.tensor, a.dim, a.ids[:, present(a.ids, kept)]) for a in touched),
    )


def _above(nodes: list[fx.Node], group: Group) -> set[fx.Node]:
    """What mixes the group's channels, and all that depends on it, the output included."""
    above: set[fx.Node] = set()
    for node in nodes:
        if node.name in group.consumers or any(source in above for source in node.all_input_nodes):
            above.add(node)
    return above


def _crossing_ids(graph: Graph, group: Group, kept: Kept, node: fx.Node) -> Ids | None:
    ids = graph.values.get(node.name)
    if ids is None or not graph.touches(ids, group):
        return None
    return ids[:, present(ids, kept)]


def _index(ids: Ids, kept: Kept, device: torch.device) -> Tensor | None:
    """Which entries stay; ``None`` for all."""
    stays = present(ids, kept)
    return None if stays.all() else torch.from_numpy(stays.nonzero()[0]).to(device)


def _select(value: Tensor, dim: int, index: Tensor) -> Tensor:
    """``value`` reduced to ``index``; 4-D tensors stay channels_last without a second copy."""
    if value.dim() == 4 and dim == 1:
        return value.permute(0, 2, 3, 1).index_select(3, index).permute(0, 3, 1, 2)
    return value.index_select(dim, index)


def _get(module: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    return _tensor(getattr(module.get_submodule(owner), last))


def _tensor(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def nbytes(values: Crossing) -> int:
    """Bytes of one batch of crossing values."""
    return sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))


def channels_last(network: nn.Module) -> nn.Module:
    """The layout in which the scoring runs, in place."""
    return network.to(memory_format=torch.channels_last)
