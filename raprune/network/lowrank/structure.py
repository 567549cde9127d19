"""Replaces a layer by two smaller ones: which layers allow it, the pair's modules, and the network with them.

Weights play no part here: they are loaded afterwards from a state dict.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import skip_init

from raprune.network.graph.convolutions import is_depthwise
from raprune.network.graph.plain import is_altered
from raprune.network.lowrank.scheme import Layer

FACTORABLE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Layers to consider; :func:`problem` says which of them can be factorised."""


def layers_of(network: fx.GraphModule) -> list[str]:
    """Convolutions and linear layers, in the order in which they run."""
    called = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    return [name for name in dict.fromkeys(called) if isinstance(network.get_submodule(name), FACTORABLE)]


def problem(network: fx.GraphModule, name: str) -> str | None:
    """Why no scheme can factorise a layer; ``None`` where one may."""
    module = network.get_submodule(name)
    if isinstance(module, nn.ConvTranspose2d):
        return "it is a transposed convolution"
    if type(module) not in (nn.Conv2d, nn.Linear):
        return f"it is a {type(module).__name__}, whose forward is its own"
    if is_altered(module):
        return "it has hooks or a forward of its own, which two layers in its place would not run"
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return "it is a depthwise convolution" if is_depthwise(module) else "it is a grouped convolution"
    if "weight" not in module._parameters:
        return "its weight is fixed"
    if any(node.op == "get_attr" and str(node.target).startswith(f"{name}.") for node in network.graph.nodes):
        return "its weight is also read by itself"
    return None


def insert_pair(network: fx.GraphModule, name: str, pair: nn.Sequential) -> None:
    """Make ``pair`` run in place of the layer ``name``; readers of the layer keep their input node."""
    network.add_submodule(name, pair)
    for node in list(network.graph.nodes):
        if node.op == "call_module" and node.target == name:
            with network.graph.inserting_before(node):
                first = network.graph.call_module(f"{name}.first", node.args, node.kwargs)
            node.args, node.kwargs, node.target = (first,), {}, f"{name}.second"
    network.recompile()


def shape_of(layer: Layer) -> tuple[int, int]:
    """(N, M_l) of its weight as a matrix."""
    return layer.weight.shape[0], math.prod(layer.weight.shape[1:])


def basis_pair(layer: Layer, rank: int, bias: bool, device: torch.device) -> nn.Sequential:
    """``rank`` filters with the layer's geometry, then all its filters as mixtures of them."""
    if isinstance(layer, nn.Linear):
        first = _linear(layer, layer.in_features, rank, False, device)
        return _pair(layer, first, _linear(layer, rank, layer.out_features, bias, device))
    own: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    basis = _conv(layer, layer.in_channels, rank, layer.kernel_size, False, device, **own)
    return _pair(layer, basis, _conv(layer, rank, layer.out_channels, (1, 1), bias, device))


def separable_pair(layer: nn.Conv2d, rank: int, device: torch.device) -> nn.Sequential:
    """``rank`` columns of the kernel's height, then all filters as rows of its width."""
    height, width = layer.kernel_size
    columns: dict[str, Any] = {"stride": (layer.stride[0], 1), "dilation": (layer.dilation[0], 1)}
    rows: dict[str, Any] = {"stride": (1, layer.stride[1]), "dilation": (1, layer.dilation[1])}
    if isinstance(layer.padding, str):
        columns["padding"] = rows["padding"] = layer.padding
    else:
        columns["padding"], rows["padding"] = (layer.padding[0], 0), (0, layer.padding[1])
    first = _conv(layer, layer.in_channels, rank, (height, 1), False, device, **columns)
    bias = layer.bias is not None
    return _pair(layer, first, _conv(layer, rank, layer.out_channels, (1, width), bias, device, **rows))


def _pair(layer: Layer, first: nn.Module, second: nn.Module) -> nn.Sequential:
    pair = nn.Sequential(OrderedDict(first=first, second=second))
    return pair.requires_grad_(layer.weight.requires_grad).train(layer.training)


def _conv(
    like: nn.Conv2d,
    channels: int,
    filters: int,
    kernel: tuple[int, ...],
    bias: bool,
    device: torch.device,
    **geometry: Any,
) -> nn.Module:
    """Uninitialised, so that no random numbers are drawn for weights that are loaded later."""
    made: nn.Module = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, channels, filters, kernel, bias=bias, padding_mode=like.padding_mode, dtype=like.weight.dtype,
        device=device, **geometry,
    )  # fmt: skip
    return made


def _linear(like: nn.Linear, features: int, given: int, bias: bool, device: torch.device) -> nn.Module:
    kind = {"bias": bias, "dtype": like.weight.dtype, "device": device}
    made: nn.Module = skip_init(nn.Linear, features, given, **kind)  # type: ignore[no-untyped-call]
    return made
