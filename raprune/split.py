"""A network cut in two at the point where one layer's keep mask acts.

Everything below that point is the same for all candidates of the layer, so it is computed once (the prefix); a
candidate only runs the part above it (the suffix), on the channels that it keeps. Exact, up to the order of sums in
the layer that consumes the channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from raprune.graph import Group, kept_indices, symbolic_trace


@dataclass(frozen=True)
class Halves:
    """``suffix(*prefix(images))`` is the network."""

    prefix: fx.GraphModule
    """Images to the values that cross the cut."""
    suffix: fx.GraphModule
    repeats: tuple[int | None, ...]
    """For each crossing value: entries a filter has in dimension 1; ``None`` if it carries none of the layer's."""
    weights: tuple[tuple[str, int], ...]
    """Consumers' weights in ``suffix`` with the entries a filter has in their dimension 1."""

    def logits(self, crossing: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """Logits of the network with the layer cut to ``mask``, from what the prefix gave for a batch."""
        if bool(mask.all()):
            out: Tensor = self.suffix(*crossing)
            return out
        index = {r: kept_indices(mask, r).to(crossing[0].device) for r in {*self.repeats, *self._weight_repeats()} if r}
        values = tuple(v if r is None else _select(v, index[r]) for v, r in zip(crossing, self.repeats, strict=True))
        weights = {name: _select(self.suffix.get_parameter(name), index[r]) for name, r in self.weights}
        out = functional_call(self.suffix, weights, values)
        return out

    def _weight_repeats(self) -> set[int]:
        return {r for _, r in self.weights}


def _select(value: Tensor, index: Tensor) -> Tensor:
    """``value`` reduced to ``index`` in dimension 1; 4-D tensors stay channels_last without a second copy."""
    if value.dim() == 4:
        return value.permute(0, 2, 3, 1).index_select(3, index).permute(0, 3, 1, 2)
    return value.index_select(1, index)


def split(network: nn.Module, group: Group) -> Halves:
    """Cut ``network`` below the consumers of ``group``; the halves share its modules."""
    module = symbolic_trace(network)
    nodes = list(module.graph.nodes)
    above = _above(nodes, group)
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
    cuts = {cut.tensor.removesuffix(".weight"): cut.repeat for cut in group.cuts if cut.dim == 1}
    repeats = tuple(next((cuts[str(u.target)] for u in n.users if str(u.target) in cuts), None) for n in crossing)
    weights = tuple((f"{name}.weight", repeat) for name, repeat in cuts.items())
    return Halves(fx.GraphModule(module, prefix), fx.GraphModule(module, suffix), repeats, weights)


def _above(nodes: list[fx.Node], group: Group) -> set[fx.Node]:
    """The consumers and all that depends on them, the output included."""
    above: set[fx.Node] = set()
    for node in nodes:
        consumes = node.op == "call_module" and str(node.target) in group.consumers
        if consumes or any(source in above for source in node.all_input_nodes):
            above.add(node)
    return above


def nbytes(values: tuple[Tensor, ...]) -> int:
    """Bytes of one batch of crossing values."""
    return sum(v.numel() * v.element_size() for v in values)


def channels_last(network: nn.Module) -> nn.Module:
    """The layout in which the scoring runs, in place."""
    return network.to(memory_format=torch.channels_last)
