"""Calls that know whether the network is training: dropout, stochastic depth and their like, as modules.

``torch.fx`` traces ``F.dropout(x, p, self.training)`` as what ``training`` was at that moment; here the call follows
the mode of the network. Dropout draws at the full width of the unpruned layer and keeps what belongs to the channels
that are left: candidates of one state see the same noise (common random numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn


class ByMode(nn.Module):
    """Calls ``function`` with its argument at ``place`` (a position, or a name) saying whether the network trains."""

    def __init__(self, function: Callable[..., Any], place: int | str) -> None:
        super().__init__()
        self.function = function
        self.place = place

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.place, int):
            args = (*args[: self.place], self.training, *args[self.place + 1 :])
        else:
            kwargs = {**kwargs, self.place: self.training}
        return self.function(*args, **kwargs)


class WideDropout(nn.Module):
    """Dropout of values, or (``channels``) of whole channels, whose draws do not depend on what is pruned.

    ``index`` holds the places of the present channels among all; empty where all are present. It follows from the keep
    masks and is not part of the state dict.
    """

    index: Tensor

    def __init__(self, p: float, width: int, channels: bool) -> None:
        super().__init__()
        self.p = p
        self.width = width
        self.channels = channels
        self.register_buffer("index", torch.empty(0, dtype=torch.int64), persistent=False)

    def forward(self, values_BC: Tensor) -> Tensor:
        """(B, C, ...) to the same shape, from torch's global generator."""
        if not self.training or self.p == 0.0:
            return values_BC
        positions = [1] * (values_BC.dim() - 2) if self.channels else list(values_BC.shape[2:])
        if self.p == 1.0:
            return torch.zeros_like(values_BC)
        draws = torch.rand(values_BC.shape[0], self.width, *positions, device=values_BC.device)
        if self.index.numel():
            draws = draws.index_select(1, self.index)
        return values_BC * (draws >= self.p).to(values_BC.dtype) / (1.0 - self.p)


def follow_mode(network: nn.Module, graph: fx.Graph, training: fx.Graph) -> str | None:
    """Replace calls that differ in one flag between the two traces of ``network``, the first in eval mode.

    Gives back the first difference that is anything else.
    """
    nodes, others = list(graph.nodes), list(training.nodes)
    for node, twin in zip(nodes, others, strict=False):
        if node.op == twin.op == "get_attr" and _same_constant(network, str(node.target), str(twin.target)):
            twin.target, twin.name = node.target, node.name
        if _said(node) == _said(twin):
            continue
        place = _flag(node, twin)
        if place is None or node.op != "call_function":
            return f"{node.name} is {node.format_node()} in one mode and {twin.format_node()} in the other"
        name = f"{node.name}_by_mode"
        if node.target is nn.functional.dropout:
            p = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
            network.add_module(name, nn.Dropout(float(str(p))))
            node.args, node.kwargs = (node.all_input_nodes[0],), {}
        else:
            network.add_module(name, ByMode(node.target, place))
        node.op, node.target = "call_module", name
    if len(nodes) == len(others):
        return None
    return f"{len(nodes)} operations in one mode and {len(others)} in the other"


def _same_constant(network: nn.Module, name: str, other: str) -> bool:
    """Whether two attributes are one value: each trace names the constants that a forward makes anew."""
    values = [getattr(network.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in (name, other)]
    return all(isinstance(v, Tensor) for v in values) and torch.equal(*values)


def _said(node: fx.Node) -> tuple[str, ...]:
    return node.op, str(node.target), str(node.args), str(node.kwargs)


def _flag(node: fx.Node, twin: fx.Node) -> int | str | None:
    """The one argument that is False in one trace and True in the other."""
    if (node.op, node.target, len(node.args), set(node.kwargs)) != (
        twin.op, twin.target, len(twin.args), set(twin.kwargs),
    ):  # fmt: skip
        return None
    here, there = (dict[int | str, Any]([*enumerate(n.args), *n.kwargs.items()]) for n in (node, twin))
    differ = [place for place in here if str(here[place]) != str(there[place])]
    flags = [place for place in differ if here[place] is False and there[place] is True]
    return flags[0] if len(differ) == len(flags) == 1 else None
