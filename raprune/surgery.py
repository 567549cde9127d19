"""Physical removal of filters: tensors sliced by a plan, and the smaller network that takes them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from raprune.graph import Graph, kept_indices

Tensors = Mapping[str, Tensor]
Plan = Mapping[str, Tensor]
"""layer -> keep mask over its original filters; layers that are not in it are whole."""


def cut_tensors(graph: Graph, tensors: Tensors, layer: str, mask: Tensor) -> dict[str, Tensor]:
    """State-dict ``tensors`` after the filters of ``layer`` that ``mask`` does not keep are gone.

    ``layer`` must be whole in ``tensors``; its neighbours may be cut already. The tensors that change are copies.
    """
    out = dict(tensors)
    for cut in graph.group(layer).cuts:
        index = kept_indices(mask, cut.repeat).to(out[cut.tensor].device)
        out[cut.tensor] = out[cut.tensor].index_select(cut.dim, index)
    return out


def shrink(network: nn.Module, graph: Graph, plan: Plan) -> nn.Module:
    """A smaller copy of the whole ``network``, with the filters that ``plan`` prunes removed and its weights sliced."""
    tensors: Tensors = network.state_dict()
    for layer, mask in plan.items():
        tensors = cut_tensors(graph, tensors, layer, mask)
    return load_tensors(copy.deepcopy(network), tensors)


def load_tensors(network: nn.Module, tensors: Tensors) -> nn.Module:
    """Put ``tensors`` (a complete state dict, perhaps smaller) into ``network``, copied and resized to fit, in place.

    Parameters that change their size become new ones: an optimiser made before points at dead tensors.
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
        _refresh_sizes(module)
    return network


def _load_parameter(module: nn.Module, key: str, parameter: nn.Parameter, value: Tensor) -> None:
    value = value.to(parameter.device)
    if parameter.shape == value.shape:
        with torch.no_grad():
            parameter.copy_(value)
    else:
        module._parameters[key] = nn.Parameter(value.clone(), requires_grad=parameter.requires_grad)


def _refresh_sizes(module: nn.Module) -> None:
    """Attributes that tell a module's size follow its weight."""
    if isinstance(module, nn.Conv2d):
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        size = module.weight if module.affine else module.running_mean
        if size is not None:
            module.num_features = size.shape[0]
