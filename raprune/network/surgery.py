"""Physical removal of filters: slices the tensors and builds the smaller network that takes them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from raprune.network.graph import Cuts, Graph, Traced, lay_out, present
from raprune.network.graph.plain import is_altered, is_ours
from raprune.network.graph.sizes import follow_tensors
from raprune.network.lowrank.factor import Factor
from raprune.network.lowrank.factorising import insert_factors

Tensors = Mapping[str, Tensor]


def cut_tensors(graph: Graph, tensors: Tensors, old: Cuts, new: Cuts) -> dict[str, Tensor]:
    """State-dict ``tensors`` of a network cut to ``old``, sliced further to ``new``, a subset of ``old``.

    Tensors that change are copies.
    """
    before, after = graph.kept(old), graph.kept(new)
    out = dict(tensors)
    for axis in graph.axes:
        had, has = present(axis.ids, before), present(axis.ids, after)
        if not (had == has).all():
            index = torch.from_numpy(has[had].nonzero()[0]).to(out[axis.tensor].device)
            out[axis.tensor] = out[axis.tensor].index_select(axis.dim, index)
    return out


def shrink(traced: Traced, cuts: Cuts) -> nn.Module:
    """A smaller copy of the whole network, with the filters that ``cuts`` prune removed and its weights sliced."""
    return build(traced, cuts, cut_tensors(traced.graph, traced.network.state_dict(), {}, cuts))


def build(traced: Traced, cuts: Cuts, tensors: Tensors, factors: Mapping[str, Factor] | None = None) -> nn.Module:
    """The network of ``cuts`` and ``factors``, with ``tensors``, its complete and already smaller state dict."""
    return refill(insert_factors(copy.deepcopy(traced.network), factors or {}), traced.graph, cuts, tensors)


def refill(network: nn.Module, graph: Graph, cuts: Cuts, tensors: Tensors) -> nn.Module:
    """Turn ``network`` into the network of ``cuts`` with ``tensors``, in place, whatever its cuts were before."""
    return lay_out(load_tensors(network, tensors, graph.depthwise), graph, graph.kept(cuts))


def refillable(network: nn.Module) -> bool:
    """Whether :func:`refill` leaves no trace of earlier runs: all modules are torch's or ours, without hooks."""
    shown, parts = set(network.state_dict()), [module for module in network.modules() if module is not network]
    known = all(is_ours(m) or type(m).__module__.startswith(("torch.nn.", "torch.fx.")) for m in network.modules())
    hidden = {name.rpartition(".")[0] for name, _ in network.named_buffers() if name not in shown}
    indexed = all(is_ours(network.get_submodule(name)) for name in hidden)
    return known and indexed and not any(map(is_altered, parts))


def load_tensors(network: nn.Module, tensors: Tensors, depthwise: Mapping[str, int] | None = None) -> nn.Module:
    """Put ``tensors`` (a complete state dict, perhaps smaller) into ``network``, copied and resized to fit, in place.

    ``depthwise``: its depthwise convolutions, each with its filters per channel.

    Parameters whose size changes are replaced: an optimiser created before then holds dead tensors.
    """
    if missing := set(network.state_dict()) ^ set(tensors):
        raise ValueError(f"state dict and network differ in {sorted(missing)}")
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        for key, parameter in list(module._parameters.items()):
            if parameter is not None:
                _load_parameter(module, key, parameter, tensors[prefix + key])
        for key, buffer in list(module._buffers.items()):
            if buffer is not None and prefix + key in tensors:
                module._buffers[key] = tensors[prefix + key].to(buffer.device, copy=True)
        follow_tensors(module, (depthwise or {}).get(name))
    return network


def _load_parameter(module: nn.Module, key: str, parameter: nn.Parameter, value: Tensor) -> None:
    value = value.to(parameter.device)
    if parameter.shape == value.shape:
        with torch.no_grad():
            parameter.copy_(value)
    else:
        module._parameters[key] = nn.Parameter(value.clone(), requires_grad=parameter.requires_grad)
