"""The rules for convolutions and transposed convolutions, and for linear layers, which only read channels."""

from __future__ import annotations

import numpy as np
from torch import fx, nn

from raprune.network.graph.probing import is_stock, obeys
from raprune.network.graph.units import Ids
from raprune.network.graph.walk import UNKNOWN, Value, Walk, shape


def is_depthwise(module: nn.Module) -> bool:
    """Whether every filter of an unpruned layer reads a single channel (and, if transposed, returns a single one).

    For a layer that may be pruned use ``Graph.depthwise``: pruning can leave any layer with one channel per group.
    """
    if isinstance(module, nn.Conv2d):
        return module.groups == module.in_channels > 1
    return isinstance(module, nn.ConvTranspose2d) and module.groups == module.in_channels == module.out_channels > 1


def convolution(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """Reads channels in dimension 1 of its weight and returns new ones; a depthwise convolution passes them on."""
    conv = walk.called(node)
    assert isinstance(conv, nn.Conv2d)
    name = str(node.target)
    if is_depthwise(conv):
        return _depthwise(walk, node, ids, conv.out_channels // conv.groups)
    reads, gives = _obeyed(walk, node, conv)
    if ids is not None and not reads:
        walk.fix(
            node.all_input_nodes[0], walk.say(node, "it computes with all channels that it reads" if gives else UNKNOWN)
        )
        ids = None
    if ids is not None and conv.groups > 1:
        walk.units.tie_columns(np.split(ids, conv.groups, 1), f"{name} is grouped")
    walk.axis(f"{name}.weight", 1, None if ids is None else ids[:, : conv.in_channels // conv.groups])
    walk.consume(node, ids)
    filters = _filters(walk, name, conv.out_channels, 0)
    walk.units.tie_columns(np.split(filters, conv.groups, 1), f"{name} is grouped")
    if not gives:
        walk.units.fix(filters, walk.say(node, UNKNOWN))
    return filters


def transposed(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """Like a convolution, with the first two dimensions of its weight exchanged."""
    conv = walk.called(node)
    assert isinstance(conv, nn.ConvTranspose2d)
    name = str(node.target)
    if is_depthwise(conv):
        return _depthwise(walk, node, ids, 1)
    walk.consume(node, ids)
    cuts = {("weight", 0): 1, ("weight", 1): 1, **dict.fromkeys(_of_filters(conv), 1)}
    if conv.groups > 1 or not (is_stock(conv) or obeys(conv, shape(node.all_input_nodes[0]), cuts, 1, 1)):
        reason = f"{name} is a grouped transposed convolution" if conv.groups > 1 else walk.say(node, UNKNOWN)
        walk.units.fix(ids, reason)
        filters = walk.units.new(conv.out_channels)
        walk.filters.setdefault(name, (1, filters))
        walk.units.fix(filters, reason)
        return None
    walk.axis(f"{name}.weight", 0, ids)
    return _filters(walk, name, conv.out_channels, 1)


def linear(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """Reads channels; its own outputs are not filters."""
    called = walk.called(node)
    assert called is not None
    walk.axis(f"{node.target}.weight", 1, ids)
    if ids is not None and len(shape(node.all_input_nodes[0])) != 2:
        raise walk.refuse(node, "it reads channels that are not in dimension 1 of (batch, features)")
    cuts = {("weight", 1): 1}
    if ids is not None and not is_stock(called) and not obeys(called, shape(node.all_input_nodes[0]), cuts, 1, 0):
        raise walk.refuse(node, UNKNOWN)
    walk.consume(node, ids)
    return None


def _obeyed(walk: Walk, node: fx.Node, conv: nn.Conv2d) -> tuple[bool, bool]:
    """Whether the channels that a convolution reads, and its filters, can be removed without changing the rest."""
    if is_stock(conv):
        return True, True
    seen, groups = shape(node.all_input_nodes[0]), conv.groups
    filters = {("weight", 0): groups, **dict.fromkeys(_of_filters(conv), groups)}
    if obeys(conv, seen, {**filters, ("weight", 1): 1}, groups, groups):
        return True, True
    return False, obeys(conv, seen, filters, 0, groups)


def _of_filters(conv: nn.Conv2d | nn.ConvTranspose2d) -> list[tuple[str, int]]:
    """Tensors of a layer, beside its weight, with one entry per filter: its bias, a gain."""
    named = {**conv._parameters, **conv._buffers}
    return [
        (name, 0)
        for name, tensor in named.items()
        if name != "weight" and tensor is not None and tensor.dim() and len(tensor) == conv.out_channels
    ]


def _filters(walk: Walk, name: str, number: int, dim: int) -> Ids:
    """New channels, one per filter; the same ones if the module runs again."""
    if name in walk.filters:
        return walk.filters[name][1]
    filters = walk.units.new(number)
    walk.filters[name] = (dim, filters)
    walk.axis(f"{name}.weight", dim, filters)
    conv = walk.module.get_submodule(name)
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    for tensor, _ in _of_filters(conv):
        walk.axis(f"{name}.{tensor}", 0, filters)
    return filters


def _depthwise(walk: Walk, node: fx.Node, ids: Ids | None, multiplier: int) -> Value:
    """Every filter reads one channel and is removed with it."""
    name = str(node.target)
    conv = walk.called(node)
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    walk.depthwise[name] = multiplier
    tensors = [("weight", 0), *_of_filters(conv)]
    reason = "it is a depthwise convolution of channels that stay"
    if ids is not None and not is_stock(conv):
        seen = shape(node.all_input_nodes[0])
        if multiplier > 1 or not obeys(conv, seen, dict.fromkeys(tensors, 1), 1, 1, depthwise=1):
            reason = walk.say(node, UNKNOWN)
            walk.fix(node.all_input_nodes[0], reason)
    out = None if ids is None else ids.repeat(multiplier, 1)
    if out is None:
        filters = walk.units.new(conv.out_channels)
        walk.units.fix(filters, reason)
        walk.filters.setdefault(name, (0, filters))
    else:
        walk.filters.setdefault(name, (0, out))
    for tensor, dim in tensors:
        walk.axis(f"{name}.{tensor}", dim, out)
    return out
