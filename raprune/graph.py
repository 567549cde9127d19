"""What hangs together in a network: its prunable layers and every tensor that changes when their filters go.

The network is traced with ``torch.fx``. From each convolution we walk along its users: norms are cut with it,
activations, pooling, dropout and flatten carry its channels on, and convolutions or linear layers consume them.
Whatever we do not know is refused with the node's name, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from raprune.errors import InputError
from raprune.registry import nearest

CHANNELWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.Identity,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d,
)  # fmt: skip
"""Modules whose output channel i depends on input channel i alone. Keep masks act where the channels are consumed,
so an activation with f(0) != 0 is right as well."""


@dataclass(frozen=True)
class Cut:
    """A tensor of the state dict that loses entries with the layer's filters."""

    tensor: str
    dim: int
    repeat: int = 1
    """Entries of ``dim`` a filter has: the positions of its feature map after a flatten."""


@dataclass(frozen=True)
class Group:
    """Convolutions that share one keep mask; ``layer`` is the first of them."""

    layer: str
    num_filters: int
    members: tuple[str, ...]
    """Convolutions whose filters go."""
    cuts: tuple[Cut, ...]
    consumers: tuple[str, ...]
    """Modules that read the channels; the keep mask acts at their input."""
    role: str = "conv"
    """What the layer is in its block."""


@dataclass(frozen=True)
class Graph:
    """The prunable groups of one network, in the order in which they run."""

    groups: dict[str, Group]

    def group(self, layer: str) -> Group:
        """The group called ``layer``; an unknown name raises :class:`InputError` with the nearest known one."""
        if layer not in self.groups:
            raise InputError(f"no prunable layer is called {layer!r}{nearest(layer, list(self.groups))}")
        return self.groups[layer]

    def arrange(self, layers: Iterable[str]) -> list[str]:
        """The named layers from low to high."""
        wanted = {self.group(layer).layer for layer in layers}
        return [layer for layer in self.groups if layer in wanted]


def trace(network: nn.Module, input_shape: tuple[int, ...]) -> Graph:
    """Find the prunable groups of ``network`` for images of ``input_shape`` (C, H, W).

    The layer that gives the output is not prunable. Raises :class:`InputError` naming the node that cannot be traced.
    """
    module = symbolic_trace(network)
    parameter = next(network.parameters())
    example = torch.zeros(2, *input_shape, dtype=parameter.dtype, device=parameter.device)
    training = network.training
    module.eval()
    with torch.no_grad():
        ShapeProp(module).propagate(example)
    network.train(training)
    groups: dict[str, Group] = {}
    for node in module.graph.nodes:
        called = _called(module, node)
        if isinstance(called, nn.Conv2d):
            group = _Walk(module, node, called).group()
            if group is not None:
                groups[group.layer] = group
    return Graph(groups)


def symbolic_trace(network: nn.Module) -> fx.GraphModule:
    """``torch.fx.symbolic_trace`` whose failure is a sentence."""
    try:
        return fx.symbolic_trace(network)
    except Exception as error:  # what a user's forward may raise under tracing is not ours to list
        raise InputError(f"the network cannot be traced: {type(error).__name__}: {error}") from error


def _called(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


class _Walk:
    """From one convolution to everything that its filters touch."""

    def __init__(self, module: fx.GraphModule, node: fx.Node, conv: nn.Conv2d) -> None:
        self.module = module
        self.node = node
        self.conv = conv
        self.layer = str(node.target)
        self.cuts = [Cut(f"{self.layer}.weight", 0)]
        if conv.bias is not None:
            self.cuts.append(Cut(f"{self.layer}.bias", 0))
        self.consumers: list[str] = []
        self.reaches_output = False

    def group(self) -> Group | None:
        """The group, or ``None`` for a layer whose filters are the network's output."""
        if self.conv.groups != 1:
            raise InputError(f"{self.layer}: grouped convolutions cannot be pruned yet (groups={self.conv.groups})")
        self._follow(self.node, 1)
        if self.reaches_output:
            return None
        cuts, consumers = tuple(self.cuts), tuple(self.consumers)
        return Group(self.layer, self.conv.out_channels, (self.layer,), cuts, consumers)

    def _follow(self, node: fx.Node, repeat: int) -> None:
        for user in node.users:
            if user.op == "output":
                self.reaches_output = True
                continue
            self._visit(user, repeat)

    def _visit(self, user: fx.Node, repeat: int) -> None:
        called = _called(self.module, user)
        name = str(user.target)
        if isinstance(called, nn.modules.batchnorm._BatchNorm):
            tensors = [*(["weight", "bias"] if called.affine else [])]
            tensors += ["running_mean", "running_var"] if called.track_running_stats else []
            self.cuts += [Cut(f"{name}.{tensor}", 0) for tensor in tensors]
            self._follow(user, repeat)
        elif isinstance(called, CHANNELWISE) or user.target in (torch.relu, nn.functional.relu, "relu"):
            self._follow(user, repeat)
        elif isinstance(called, nn.Flatten) or user.target in (torch.flatten, "flatten"):
            self._follow(user, repeat * self._positions(user))
        elif isinstance(called, nn.Conv2d) and called.groups == 1:
            self._consume(name, 1)
        elif isinstance(called, nn.Linear):
            self._consume(name, repeat)
        else:
            what = type(called).__name__ if called is not None else user.format_node()
            raise InputError(f"{self.layer}: its channels cannot be followed through {user.name} ({what})")

    def _consume(self, name: str, repeat: int) -> None:
        self.consumers.append(name)
        self.cuts.append(Cut(f"{name}.weight", 1, repeat))

    def _positions(self, flatten: fx.Node) -> int:
        before = _shape(flatten.all_input_nodes[0])
        after = _shape(flatten)
        if len(after) != 2:
            raise InputError(f"{self.layer}: {flatten.name} must flatten to (batch, features), not {after}")
        return after[1] // before[1]


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta: Any = node.meta["tensor_meta"]
    return tuple(meta.shape)


def kept_indices(mask: Tensor, repeat: int = 1) -> Tensor:
    """Indices that a keep mask keeps in a dimension with ``repeat`` entries a filter."""
    return mask.repeat_interleave(repeat).nonzero()[:, 0]
