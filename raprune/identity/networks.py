"""Fingerprints of networks: of what they compute apart from their tensors, of their tensors, and what they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from raprune.identity.values import DIGEST_BYTES, Fingerprint, of_value

PROBE_IMAGES = 2
PROBE_VALUES = 16
"""Outputs that a probe keeps, at most."""
ALIKE = 1e-3
"""Of the largest output: what two machines or versions of torch may differ by."""


def of_structure(network: fx.GraphModule, own: frozenset[str] = frozenset()) -> str:
    """Of a traced network: its operations, its modules with their settings and hooks, names and shapes of its tensors.

    Names of nodes and of local variables do not count. ``own`` are packages whose code counts although installed.
    """
    fingerprint = Fingerprint(own=own)
    places: dict[fx.Node, str] = {}
    tensors = network.state_dict()
    for node in network.graph.nodes:
        places[node] = f"%{len(places)}"
        fingerprint.say(node.op)
        if node.op in ("call_module", "call_method", "get_attr"):
            fingerprint.say(str(node.target))
        elif node.op == "call_function":
            fingerprint.add(node.target)
        fingerprint.add(map_arg((node.args, node.kwargs), places.__getitem__) if node.op != "placeholder" else None)
        if node.op == "call_module":
            _add_module(fingerprint, network.get_submodule(str(node.target)))
        elif node.op == "get_attr" and str(node.target) not in tensors:
            fingerprint.add(_attribute(network, str(node.target)))
    for name, value in tensors.items():
        fingerprint.say(name)
        if isinstance(value, Tensor):
            fingerprint.say(str(value.dtype), str(tuple(value.shape)))
        else:
            fingerprint.add(value)
    return fingerprint.hexdigest()


def of_training(network: nn.Module) -> str:
    """Of what training leaves alone: frozen parameters, and modules held in eval mode; empty where there is neither."""
    frozen = sorted(name for name, parameter in network.named_parameters() if not parameter.requires_grad)
    held = sorted(getattr(network, "_held_in_eval", ()))
    return of_value(frozen, held) if frozen or held else ""


def of_tensors(tensors: Mapping[str, Any]) -> str:
    """Of the names and values of a state dict, extra state included; in whatever order they stand."""
    fingerprint = Fingerprint(DIGEST_BYTES)
    for name in sorted(tensors):
        fingerprint.say(name)
        fingerprint.add(tensors[name])
    return fingerprint.hexdigest()


def extra_state_of(network: nn.Module) -> dict[str, str]:
    """Module -> fingerprint of its extra state, of those that have some (``get_extra_state``)."""
    return {
        name: of_value(module.get_extra_state())
        for name, module in network.named_modules()
        if type(module).get_extra_state is not nn.Module.get_extra_state
    }


@torch.no_grad()
def probe(network: nn.Module, input_shape: tuple[int, ...]) -> list[float]:
    """A few output values of ``network`` for seeded random images; empty if one is not finite."""
    parameter = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(PROBE_IMAGES, *input_shape, generator=generator).to(parameter.device, parameter.dtype)
    values = network(images).double().flatten().cpu()
    chosen = torch.linspace(0, len(values) - 1, min(PROBE_VALUES, len(values))).round().long()
    kept = values[chosen]
    return [float(value) for value in kept] if bool(kept.isfinite().all()) else []


def alike(found: list[float], expected: list[float]) -> bool:
    """Whether two probes come from one network, up to rounding; half of the values must agree.

    If a network un-pools, rounding may move some values to other places, but the others still agree.
    """
    if len(found) != len(expected):
        return False
    largest = max((abs(value) for value in expected), default=0.0)
    differs = sorted(abs(a - b) for a, b in zip(found, expected, strict=True))
    return not differs or differs[(len(differs) - 1) // 2] <= ALIKE * largest


def _add_module(fingerprint: Fingerprint, module: nn.Module) -> None:
    for name, part in module.named_modules():
        fingerprint.say(name)
        fingerprint.settings(part)
        kept = set(part.state_dict())
        for buffer, value in part.named_buffers(recurse=False):
            if buffer not in kept:
                fingerprint.say(buffer)
                fingerprint.add(value)


def _attribute(network: nn.Module, target: str) -> Any:
    owner, _, name = target.rpartition(".")
    return getattr(network.get_submodule(owner), name)
