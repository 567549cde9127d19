"""A network cut in two at the point where one layer's keep mask acts.

Everything below that point (the prefix) is the same for all candidates of the layer, so it is computed once; a
candidate runs only the part above (the suffix), on the channels that it keeps. This is exact up to the order of sums
in the layers that consume the channels.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from raprune.engine.kernels.convolutions import FusedConv
from raprune.engine.kernels.program import Program, compile_module, is_tensor
from raprune.network.graph import Axis, Cuts, Graph, Group, Site, present
from raprune.network.graph.align import align
from raprune.network.graph.plain import written_inputs
from raprune.network.graph.units import Ids, Kept

Convs = dict[str, FusedConv]
"""Fused convolutions of a network by name, kept for its next program."""
Crossing = tuple[Any, ...]
"""Values (tensors, or sizes) that the prefix passes to the suffix for one batch."""


@dataclass(frozen=True)
class Touched:
    """A tensor of the suffix that loses entries with the layer's filters."""

    part: str
    """A part of the suffix's program."""
    tensor: str
    """The tensor in that part: ``weight``, or empty where the part itself is the tensor."""
    dim: int
    ids: Ids
    """The units of the entries that the state has."""


@dataclass(frozen=True)
class Below:
    """The part of a state's network below the nodes that read ``layer``, which is whole in the state."""

    prefix: Program
    """Maps images to the crossing values."""
    graph: Graph
    layer: str
    cuts: Cuts
    """The state's cuts."""
    crossing: tuple[Ids | None, ...]
    """For each crossing value, the units of its channels; ``None`` where the layer's mask does not change it."""
    device: torch.device

    def kept(self, mask: Tensor) -> Kept:
        """The units that remain when the layer is cut to ``mask``."""
        return self.graph.kept({**self.cuts, self.layer: mask})

    def indices(self, kept: Kept) -> list[Tensor | None]:
        """For each crossing value, the indices of the channels that are ``kept``; ``None`` for all."""
        return [None if ids is None else _index(ids, kept, self.device) for ids in self.crossing]


@dataclass(frozen=True)
class Halves(Below):
    """``suffix(*prefix(images))`` is the network of a state in which ``layer`` is whole."""

    suffix: Program
    written: tuple[bool, ...]
    """For each crossing value, whether the suffix may write into it; it then gets a copy."""
    touched: tuple[Touched, ...]
    sites: Mapping[str, Site]
    """Part of the suffix -> where it puts channels; only parts that the layer's mask changes."""

    def candidate(self, mask: Tensor) -> Callable[[Crossing], Tensor]:
        """The function from a batch's crossing values to logits, for the network with the layer cut to ``mask``."""
        kept = self.kept(mask)
        forward = self.suffix if bool(mask.all()) else self.suffix.exchanged(self.exchanged(kept))
        indices = self.indices(kept)
        return lambda values: is_tensor(forward(*narrowed(values, indices, self.written)))

    def exchanged(self, kept: Kept) -> dict[str, Any]:
        """The changed parts of the suffix, without the channels that are not ``kept``."""
        changes: dict[str, dict[tuple[str, int], Tensor]] = {}
        for entry in self.touched:
            index = _index(entry.ids, kept, self.device)
            if index is not None:
                changes.setdefault(entry.part, {})[entry.tensor, entry.dim] = index
        out = {name: self._narrowed(name, indices) for name, indices in changes.items()}
        for name, site in self.sites.items():
            out[name] = partial(align, index=site.index(kept).to(self.device))
        return out

    def _narrowed(self, name: str, indices: Mapping[tuple[str, int], Tensor]) -> Any:
        part = self.suffix.parts[name]
        if isinstance(part, FusedConv):
            return part.narrowed(indices.get(("weight", 1)), indices.get(("weight", 0)))
        if isinstance(part, Tensor):
            return _cut(part, {dim: index for (_, dim), index in indices.items()})
        tensors = {}
        for tensor in {name for name, _ in indices}:
            dims = {dim: index for (name, dim), index in indices.items() if name == tensor}
            tensors[tensor] = _cut(operator.attrgetter(tensor)(part), dims)
        return lambda *args, **kwargs: functional_call(part, tensors, args, kwargs, tie_weights=False)


@dataclass(frozen=True)
class Parts:
    """A traced network divided at the point where a group's mask acts."""

    prefix: fx.Graph
    """Maps images to the crossing values."""
    suffix: fx.Graph
    """Maps the crossing values to the output."""
    crossing: tuple[str, ...]
    """The nodes of the network whose values cross."""
    inputs: tuple[str, ...]
    """The nodes of the suffix that receive them."""


def above_and_crossing(network: fx.GraphModule, group: Group) -> tuple[set[fx.Node], list[fx.Node]]:
    """The nodes that mix the channels of ``group``, with all that depend on them, and the nodes that those read."""
    nodes = list(network.graph.nodes)
    above: set[fx.Node] = set()
    for node in nodes:
        if node.name in group.consumers or any(source in above for source in node.all_input_nodes):
            above.add(node)
    crossing = [n for n in nodes if n not in above and n.op != "output" and any(user in above for user in n.users)]
    return above, crossing


def divide(network: fx.GraphModule, group: Group) -> Parts:
    """Divide ``network`` into graphs below and above the point where the mask of ``group`` acts."""
    nodes = list(network.graph.nodes)
    above, crossing = above_and_crossing(network, group)
    prefix, suffix = fx.Graph(), fx.Graph()
    lower: dict[fx.Node, fx.Node] = {}
    upper = {node: suffix.placeholder(node.name) for node in crossing}
    inputs = tuple(upper[node].name for node in crossing)
    for node in nodes:
        if node in above:
            upper[node] = suffix.node_copy(node, upper.__getitem__)
        elif node.op != "output":
            lower[node] = prefix.node_copy(node, lower.__getitem__)
    prefix.output(tuple(lower[node] for node in crossing))
    return Parts(prefix, suffix, tuple(node.name for node in crossing), inputs)


def below(
    network: fx.GraphModule,
    graph: Graph,
    layer: str,
    cuts: Cuts,
    convs: Convs | None = None,
    parts: Parts | None = None,
) -> Below:
    """The part of ``network`` below the nodes that read ``layer``; ``parts`` if it is already divided.

    ``network`` is the network of ``cuts`` in eval mode.
    """
    group, kept = graph.group(layer), graph.kept(cuts)
    parts = parts or divide(network, group)
    values = [graph.values.get(name) for name in parts.crossing]
    changed = [None if ids is None or not graph.touches(ids, group) else ids for ids in values]
    return Below(
        prefix=compile_module(network, convs, parts.prefix),
        graph=graph,
        layer=layer,
        cuts=cuts,
        crossing=tuple(None if ids is None else ids[:, present(ids, kept)] for ids in changed),
        device=next(network.parameters()).device,
    )


def split(network: fx.GraphModule, graph: Graph, layer: str, cuts: Cuts, convs: Convs | None = None) -> Halves | None:
    """Cut the network of ``cuts`` just below the nodes that read ``layer``; ``convs`` keeps its fused convolutions.

    ``None`` if a depthwise convolution above that point depends on the layer: its number of groups is not a tensor.
    """
    group, kept = graph.group(layer), graph.kept(cuts)
    parts = divide(network, group)
    inside = {str(node.target) for node in parts.suffix.nodes if node.op == "call_module"}
    axes = [a for a in graph.axes if graph.touches(a.ids, group)]
    if any(_owner(a) in inside and _owner(a) in graph.depthwise for a in axes):
        return None
    written = written_inputs(network, parts.suffix)
    suffix = compile_module(network, convs, parts.suffix)
    sites = {s.module: s for s in graph.sites if graph.touches(s.source, group) or graph.touches(s.target, group)}
    return Halves(
        **vars(below(network, graph, layer, cuts, convs, parts)),
        suffix=suffix,
        written=tuple(name in written for name in parts.inputs),
        touched=tuple(_touched(suffix, axes, kept)),
        sites={part: sites[name] for part, name in suffix.modules.items() if name in sites},
    )


def _owner(axis: Axis) -> str:
    return axis.tensor.rpartition(".")[0]


def _touched(program: Program, axes: list[Axis], kept: Kept) -> Iterator[Touched]:
    """The entries of ``axes`` in the parts of a program; a folded norm goes with the filters of its convolution."""
    for axis in axes:
        owner, _, tensor = axis.tensor.rpartition(".")
        ids = axis.ids[:, present(axis.ids, kept)]
        for part, fused in program.fused.items():
            if fused.conv == owner and tensor == "weight":
                yield Touched(part, tensor, axis.dim, ids)
        for part, name in program.modules.items():
            if name == axis.tensor or name == owner:
                yield Touched(part, "" if name == axis.tensor else tensor, axis.dim, ids)


def _index(ids: Ids, kept: Kept, device: torch.device) -> Tensor | None:
    """Indices of the entries that stay; ``None`` for all."""
    stays = present(ids, kept)
    return None if stays.all() else torch.from_numpy(stays.nonzero()[0]).to(device)


def select(value: Tensor, dim: int, index: Tensor) -> Tensor:
    """``value`` reduced to ``index``; 4-D tensors stay channels_last without a second copy."""
    if value.dim() == 4 and dim == 1:
        return value.permute(0, 2, 3, 1).index_select(3, index).permute(0, 3, 1, 2)
    return value.index_select(dim, index)


def narrowed(values: Crossing, indices: Sequence[Tensor | None], written: Sequence[bool]) -> Crossing:
    """Crossing values with the channels that stay; values that may be ``written`` into are copied first."""
    return tuple(
        value if not isinstance(value, Tensor)
        else select(value, 1, index.to(value.device)) if index is not None
        else value.clone() if is_written
        else value
        for value, index, is_written in zip(values, indices, written, strict=True)
    )  # fmt: skip


def _cut(tensor: Tensor, indices: Mapping[int, Tensor]) -> Tensor:
    for dim, index in indices.items():
        tensor = select(tensor, dim, index)
    return tensor


def nbytes(values: Crossing) -> int:
    """Bytes of one batch of crossing values."""
    return sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))


def channels_last(network: nn.Module) -> nn.Module:
    """Put ``network`` into the memory layout used for scoring, in place."""
    return network.to(memory_format=torch.channels_last)
