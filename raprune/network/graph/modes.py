"""Turns calls that depend on the training mode, such as dropout and stochastic depth, into modules.

``torch.fx`` records the value that ``training`` had in ``F.dropout(x, p, self.training)``; here the call follows the
mode of the network. Dropout draws at the full width of the unpruned layer and keeps the draws of the channels that are
left, so that candidates of one state see the same noise (common random numbers).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.network.graph.module import fresh_name
from raprune.network.graph.places import place_of
from raprune.network.graph.plain import Ours
from raprune.network.graph.values import GRADIENTS

EVAL_IMAGES, TRAINING_IMAGES = 2, 3
"""Example images in each mode: a number that differs between modes in this ratio counts images."""
DROPS = ("DropPath", "StochasticDepth")
"""Classes that each library defines for itself; they drop a branch for some images, in training only."""


class ByMode(Ours, nn.Module):
    """Calls ``function`` with the training mode as its argument at ``place`` (a position or a name)."""

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


class WideDropout(Ours, nn.Module):
    """Dropout of values, or (``channels``) of whole channels, whose draws do not depend on what is pruned.

    ``index`` holds the indices of the channels present among all; empty if all are. It follows from the keep masks and
    is not part of the state dict.
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


MADE_IN = "made_in"
"""Key in the meta of a node that reads a constant: the module whose forward made it."""
HIDDEN = "a function that torch cannot see into, such as a scripted or compiled one, computes a tensor from the images"


@dataclass(frozen=True)
class Twin:
    """How two recordings of one operation differ."""

    flags: tuple[int | str, ...] = ()
    """Arguments that are False in eval mode and True in training."""
    batch: bool = False
    """Whether numbers in its arguments are multiples of the number of images."""
    other: bool = False
    """Whether anything else differs."""


def compare(network: nn.Module, graph: fx.Graph, training: fx.Graph) -> dict[str, str]:
    """Modules of ``network`` that run differently in training than in eval mode -> how they differ.

    The graphs are traced with :data:`EVAL_IMAGES` and :data:`TRAINING_IMAGES`. Calls that differ only in one flag, and
    numbers of images, do not count.
    """
    here, there = _by_module(graph), _by_module(training)
    found = {}
    for name in {**here, **there}:
        both = zip_longest(here.get(name, []), there.get(name, []))
        if (first := next((b or a for a, b in both if _kind(a) != _kind(b)), None)) is not None:
            found[name] = f"it runs other operations in training than in eval mode{place_of(first)}"
    if found:
        return found
    pairs = list(zip(graph.nodes, training.nodes, strict=True))
    for node, twin in pairs:
        if node.op == twin.op == "get_attr" and node.target != twin.target:
            if _same_constant(network, str(node.target), str(twin.target)):
                twin.target, twin.name = node.target, node.name
            else:
                reader = next(iter(node.users), node)
                found.setdefault(node.meta.get(MADE_IN, module_of(reader)), f"{HIDDEN}{place_of(reader)}")
    for node, twin in pairs if not found else ():
        how = _difference(node, twin)
        if how.other or (how.flags and (len(how.flags) > 1 or node.op != "call_function")):
            message = f"{node.name} is {_call(node)} in one run and {_call(twin)} in another{place_of(node)}"
            found.setdefault(module_of(node), message)
    return found


def follow_twins(module: fx.GraphModule, training: fx.Graph) -> None:
    """Make calls that differ from their twins follow the mode, the number of images and the gradients."""
    pairs = list(zip(module.graph.nodes, training.nodes, strict=True))
    _follow_mode(module, pairs)
    _follow_gradients(module, pairs)


def _follow_mode(module: fx.GraphModule, pairs: list[tuple[fx.Node, fx.Node]]) -> None:
    images = next(node for node, _ in pairs if node.op == "placeholder")
    for node, twin in pairs:
        how = _difference(node, twin)
        if how.batch:
            with module.graph.inserting_before(node):
                node.args, node.kwargs = (
                    _with_batch(a, b, images) for a, b in ((node.args, twin.args), (node.kwargs, twin.kwargs))
                )
        if how.flags:
            name, function = fresh_name(module, f"{node.name}_by_mode"), node.target
            assert callable(function)
            if function is nn.functional.dropout:
                p = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
                module.add_submodule(name, nn.Dropout(float(str(p))))
                node.args, node.kwargs = (node.all_input_nodes[0],), {}
            else:
                module.add_submodule(name, ByMode(function, how.flags[0]))
            node.op, node.target = "call_module", name


def _follow_gradients(module: fx.GraphModule, pairs: list[tuple[fx.Node, fx.Node]]) -> None:
    """Detach values computed without gradients where they are used with gradients."""
    off = {node: None for node, twin in pairs if twin.meta.get(GRADIENTS) is False}
    for node in off:
        outside = [user for user in node.users if user not in off]
        if outside:
            with module.graph.inserting_after(node):
                detached = module.graph.call_method("detach", (node,))
            for user in outside:
                user.replace_input_with(node, detached)


def module_of(node: fx.Node) -> str:
    """The module in whose forward a node was made."""
    stack = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    if node.op == "call_module":
        stack = stack[:-1]
    return stack[-1] if stack else ""


def _by_module(graph: fx.Graph) -> dict[str, list[fx.Node]]:
    nodes: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op not in ("placeholder", "output"):
            nodes.setdefault(module_of(node), []).append(node)
    return nodes


def _kind(node: fx.Node | None) -> tuple[str, str]:
    if node is None:
        return "", ""
    return node.op, "" if node.op == "get_attr" else str(node.target)


def _same_constant(network: nn.Module, name: str, other: str) -> bool:
    """Whether two attributes hold the same value: each trace gives its own name to constants that a forward makes."""
    values = [getattr(network.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in (name, other)]
    return all(isinstance(v, Tensor) for v in values) and values[0].shape == values[1].shape and torch.equal(*values)


def _call(node: fx.Node) -> str:
    return str(node.format_node()).partition("= ")[2]


def _difference(node: fx.Node, twin: fx.Node) -> Twin:
    """How the arguments of two nodes differ."""
    if (len(node.args), set(node.kwargs)) != (len(twin.args), set(twin.kwargs)):
        return Twin(other=True)
    if node.op == "get_attr" and node.target != twin.target:
        return Twin(other=True)
    here, there = (dict[int | str, Any]([*enumerate(n.args), *n.kwargs.items()]) for n in (node, twin))
    flags: list[int | str] = []
    batch = other = False
    for place, value in here.items():
        if value is False and there[place] is True:
            flags.append(place)
        elif str(value) != str(there[place]):
            batch |= (follows := _follows_batch(value, there[place]))
            other |= not follows
    return Twin(tuple(flags), batch, other)


def _follows_batch(one: Any, other: Any) -> bool:
    """Whether the arguments are equal except for numbers that are multiples of the numbers of images."""
    if isinstance(one, slice) and isinstance(other, slice):
        return _follows_batch(_parts(one), _parts(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return all(_follows_batch(a, b) for a, b in zip(one, other, strict=True))
    if type(one) is int and type(other) is int and one != other:
        return one % EVAL_IMAGES == 0 and one // EVAL_IMAGES * TRAINING_IMAGES == other
    return str(one) == str(other)


def _parts(index: slice) -> tuple[Any, Any, Any]:
    return index.start, index.stop, index.step


def _with_batch(one: Any, other: Any, images: fx.Node) -> Any:
    """``one``, with numbers that differ from ``other`` written as multiples of the number of images."""
    if isinstance(one, dict):
        return {key: _with_batch(value, other[key], images) for key, value in one.items()}
    if isinstance(one, slice):
        return slice(*_with_batch(_parts(one), _parts(other), images))
    if isinstance(one, list | tuple):
        return tuple(_with_batch(a, b, images) for a, b in zip(one, other, strict=True))
    if type(one) is not int or one == other:
        return one
    number = images.graph.call_method("size", (images, 0))
    times = one // EVAL_IMAGES
    return number if times == 1 else images.graph.call_function(operator.mul, (number, times))
