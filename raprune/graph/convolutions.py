"""The rules of what has filters: convolutions, transposed convolutions, and linear layers, which only read channels."""

from __future__ import annotations

import numpy as np
from torch import fx, nn

from raprune.graph.units import Ids
from raprune.graph.walk import Value, Walk, shape


def is_depthwise(module: nn.Module) -> bool:
    """Whether every filter reads one channel alone (a transposed one: and gives one)."""
    if isinstance(module, nn.Conv2d):
        return module.groups == module.in_channels > 1
    return isinstance(module, nn.ConvTranspose2d) and module.groups == module.in_channels == module.out_channels > 1


def convolution(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """Reads channels in dimension 1 of its weight and gives new ones; a depthwise convolution passes them on."""
    conv = walk.called(node)
    assert isinstance(conv, nn.Conv2d)
    name = str(node.target)
    if is_depthwise(conv):
        return _depthwise(walk, name, ids, conv.out_channels // conv.groups)
    if ids is not None and conv.groups > 1:
        walk.units.tie_columns(np.split(ids, conv.groups, 1), f"{name} is grouped")
    walk.axis(f"{name}.weight", 1, None if ids is None else ids[:, : conv.in_channels // conv.groups])
    walk.consume(node, ids)
    filters = _filters(walk, name, conv.out_channels, 0)
    walk.units.tie_columns(np.split(filters, conv.groups, 1), f"{name} is grouped")
    return filters


def transposed(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """As a convolution, with the two dimensions of its weight exchanged."""
    conv = walk.called(node)
    assert isinstance(conv, nn.ConvTranspose2d)
    name = str(node.target)
    if is_depthwise(conv):
        return _depthwise(walk, name, ids, 1)
    walk.consume(node, ids)
    if conv.groups > 1:
        walk.units.fix(ids, f"{name}, a grouped transposed convolution, reads it")
        filters = walk.units.new(conv.out_channels)
        walk.filters[name] = (1, filters)
        walk.units.fix(filters, "it is a grouped transposed convolution")
        return None
    walk.axis(f"{name}.weight", 0, ids)
    return _filters(walk, name, conv.out_channels, 1)


def linear(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """Reads channels; its own outputs are not filters."""
    if ids is not None and len(shape(node.all_input_nodes[0])) != 2:
        raise walk.refuse(node, "it reads channels that are not in dimension 1 of (batch, features)")
    walk.axis(f"{node.target}.weight", 1, ids)
    walk.consume(node, ids)
    return None


def _filters(walk: Walk, name: str, number: int, dim: int) -> Ids:
    """New channels, one a filter; the same ones when a module runs again."""
    if name in walk.filters:
        return walk.filters[name][1]
    filters = walk.units.new(number)
    walk.filters[name] = (dim, filters)
    walk.axis(f"{name}.weight", dim, filters)
    if walk.module.get_submodule(name).bias is not None:
        walk.axis(f"{name}.bias", 0, filters)
    return filters


def _depthwise(walk: Walk, name: str, ids: Ids | None, multiplier: int) -> Value:
    """Every filter reads one channel and goes with it."""
    conv = walk.module.get_submodule(name)
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    out = None if ids is None else ids.repeat(multiplier, 1)
    if out is None:
        filters = walk.units.new(conv.out_channels)
        walk.units.fix(filters, "it is a depthwise convolution of channels that stay")
        walk.filters.setdefault(name, (0, filters))
    else:
        walk.filters.setdefault(name, (0, out))
    walk.axis(f"{name}.weight", 0, out)
    if conv.bias is not None:
        walk.axis(f"{name}.bias", 0, out)
    return out
