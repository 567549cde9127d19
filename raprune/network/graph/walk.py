"""From a traced network to its prunable groups: determines the channels of every value, node by node in run order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from raprune.network.graph.counting import Counts
from raprune.network.graph.module import Network
from raprune.network.graph.network import GIVES_OUTPUT
from raprune.network.graph.places import place_of
from raprune.network.graph.probing import obeys
from raprune.network.graph.units import Ids, Units, whole

Value = Any
"""Ids, ``None`` (channels that always stay, or not a tensor), or a tuple of these."""
Rule = Callable[["Walk", fx.Node, Any], Value]
"""Channels of a node's first prunable input (``None`` without one, for :data:`WITH_TENSORS`) -> those of its result."""


NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
WITH_TENSORS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU, *NORMS)
"""Their rules also run for channels that stay, since the same module may run on other channels, too."""
JOINS = (
    "add", "add_", "iadd", "sub", "sub_", "isub", "mul", "mul_", "imul", "multiply", "div", "truediv", "div_",
    "maximum", "minimum", "cat", "concat", "concatenate", "max_unpool2d", "expand_as",
)  # fmt: skip
"""Functions of several values that have a rule."""
UNKNOWN = "it is not known how its output channels follow from its input channels"


class Refusal(Exception):
    """A node cannot be followed, for the reason in the message; what it reads stays whole."""


class Walk:
    """One pass over a network; collects what surgery needs to know."""

    def __init__(self, module: Network, residual: str, left_whole: frozenset[str]) -> None:
        self.module = module
        self.coupled = residual == "coupled"
        self.left_whole = left_whole
        self.units = Units()
        self.values: dict[fx.Node, Value] = {}
        self.axes: dict[tuple[str, int], Ids] = {}
        self.filters: dict[str, tuple[int, Ids]] = {}
        """Convolution -> the dimension of its weight that counts filters, and their units."""
        self.consumed: list[tuple[fx.Node, Ids]] = []
        """Nodes that mix channels, and the channels."""
        self.sums: list[fx.Node] = []
        self.bare_norms: list[tuple[str, Ids]] = []
        """Norms without tensors, and the channels they read."""
        self.moves: list[tuple[fx.Node, Ids]] = []
        """:class:`Align` modules of a network pruned before, and the input channel of each of their channels."""
        self.pads: list[tuple[fx.Node, int, int]] = []
        """Nodes that pad channels with zeros: how many before and behind."""
        self.depthwise: dict[str, int] = {}
        """Depthwise convolution -> its filters per channel."""
        self.opaque: dict[str, str] = {}
        """Modules that stay as they are, and why."""
        self.picks: dict[fx.Node, tuple[fx.Node, npt.NDArray[np.int64]]] = {}
        """Nodes that select channels by index -> the value they select from, and the indices."""
        self.factors: list[tuple[fx.Node, fx.Node]] = []
        """Products, and the factor of each whose channels all stay."""
        self.ahead: dict[fx.Node, Value] = {}
        """Values of nodes determined before the walk reaches them."""
        self.counts = Counts()

    def run(self, rules: Callable[[Walk, fx.Node], Rule | None], look_ahead: Callable[[Walk, fx.Node], None]) -> None:
        """Determine every node's value. What a node that cannot be followed reads stays whole, for the reason given."""
        read: list[str] = []
        for node in self.module.graph.nodes:
            if node.op == "output":
                self._fix_sources(node, GIVES_OUTPUT)
                continue
            if node.op == "get_attr":
                read.append(str(node.target))
            look_ahead(self, node)
            try:
                self.values[node] = self._value(node, rules(self, node))
            except Refusal as refusal:
                self._leave(node, str(refusal))
                self.values[node] = None
        for (tensor, _), ids in self.axes.items():
            if tensor in read:
                self.units.fix(ids, f"{tensor} is also read by itself")
            for module, reason in self.opaque.items():
                if tensor.startswith(f"{module}."):
                    self.units.fix(ids, reason)

    def _value(self, node: fx.Node, rule: Rule | None) -> Value:
        if node.op in ("placeholder", "get_attr"):
            return None
        if node.name in self.left_whole or str(node.target) in self.left_whole:
            self._leave(node, f"{node.name}, which is left whole, reads it")
            return None
        if node in self.ahead:
            return self.ahead[node]
        if not _gives_tensors(node):
            self.counts.note(node, self.values)
            return None
        for source in self.counts.used_by(node, self.called(node)):
            self.fix(source, self.say(node, "it computes with the number of channels"))
        prunable = [ids for source in node.all_input_nodes if (ids := self.values[source]) is not None]
        if isinstance(self.called(node), WITH_TENSORS):
            assert rule is not None
            value = rule(self, node, prunable[0] if prunable else None)
        elif not prunable:
            self._leave(node, self.say(node, UNKNOWN))  # for the convolutions inside it
            return None
        elif rule is None:
            raise self.refuse(node, UNKNOWN)
        else:
            self._check_alone(node)
            value = rule(self, node, prunable[0])
        if isinstance(value, np.ndarray) and value.shape[1:] != _width(node):
            raise self.refuse(node, "it does not return the expected number of channels")
        return value

    def _check_alone(self, node: fx.Node) -> None:
        """Refuse several values and hooks, except where the rule allows them."""
        called = self.called(node)
        hooked = called is not None and (called._forward_hooks or called._forward_pre_hooks)
        if called is not None and hooked and not obeys(called, shape(node.all_input_nodes[0]), {}, 1, 1):
            raise self.refuse(node, "a hook changes what it does")
        others = [other for other in node.all_input_nodes[1:] if _gives_tensors(other) and not _is_scalar(other)]
        if others and function_name(node.target) not in JOINS and not isinstance(called, nn.MaxUnpool2d):
            raise self.refuse(node, "it is not known how it joins several values")

    def _leave(self, node: fx.Node, reason: str) -> None:
        """Make what a node reads, and the module that it calls, stay whole."""
        self._fix_sources(node, reason)
        for source in self.counts.used_by(node, self.called(node)):
            self.fix(source, reason)
        if node.op == "call_module":
            self.opaque.setdefault(str(node.target), reason)

    def called(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def ids(self, value: Any) -> Ids | None:
        """The channels of an argument; ``None`` if they always stay or it is not a value."""
        ids: Ids | None = self.values[value] if isinstance(value, fx.Node) else None
        return ids

    def ids_or_whole(self, node: fx.Node) -> Ids:
        """The channels of a value, as fixed ids if they always stay."""
        ids = self.ids(node)
        return whole(shape(node)[1]) if ids is None else ids

    def axis(self, tensor: str, dim: int, ids: Ids | None) -> None:
        """Record a dimension that follows channels; a module that runs twice ties the channels that it runs on."""
        known = self.axes.get((tensor, dim))
        if known is not None:
            self.units.tie(known, ids, f"{tensor} is also used where channels stay")
        elif ids is not None:
            self.axes[tensor, dim] = ids
        else:
            owner, _, last = tensor.rpartition(".")
            width = getattr(self.module.get_submodule(owner), last).shape[dim]
            self.axes[tensor, dim] = whole(width)

    def consume(self, node: fx.Node, ids: Ids | None) -> None:
        """Record a node that mixes channels."""
        if ids is not None:
            self.consumed.append((node, ids))

    def _fix_sources(self, node: fx.Node, reason: str) -> None:
        for source in node.all_input_nodes:
            self.fix(source, reason)

    def fix(self, source: fx.Node, reason: str) -> None:
        """Make the channels of a value, or of its parts, stay."""
        value = self.values.get(source)
        for ids in value if isinstance(value, tuple) else (value,):
            self.units.fix(ids, reason)

    def refuse(self, node: fx.Node, why: str) -> Refusal:
        """The exception for a node that cannot be followed; names the node and its line of code."""
        return Refusal(self.say(node, why))

    def say(self, node: fx.Node, why: str) -> str:
        """``why`` after the node's name, kind and line of code."""
        called = self.called(node)
        name = str(node.target) if called is not None else node.name
        what = type(called).__name__ if called is not None else _function(node)
        return f"{name} ({what}{place_of(node)}): {why}"


def shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node returns for the example batch."""
    return tuple(node.meta["tensor_meta"].shape)


def _width(node: fx.Node) -> tuple[int, ...]:
    """(size in dimension 1,) of the one tensor that a node returns."""
    meta = node.meta["tensor_meta"]
    return tuple(meta.shape[1:2]) if hasattr(meta, "shape") else ()


def _is_scalar(node: fx.Node) -> bool:
    return getattr(node.meta["tensor_meta"], "shape", None) == ()


def _gives_tensors(node: fx.Node) -> bool:
    """Whether a node returns one tensor or several, and not a size or a number."""
    kind = node.meta.get("type")
    if isinstance(kind, type) and issubclass(kind, torch.Size | int | float | bool):
        return False
    return "tensor_meta" in node.meta


def _function(node: fx.Node) -> str:
    """What a node calls: ``torch.softmax``, or ``.view`` of a tensor."""
    if isinstance(node.target, str):
        return f".{node.target}"
    return f"{getattr(node.target, '__module__', None) or 'torch'}.{getattr(node.target, '__name__', node.target)}"


def argument(node: fx.Node, place: int, *names: str, default: Any = None) -> Any:
    """The argument of a node at ``place``, or under one of ``names``."""
    if len(node.args) > place:
        return node.args[place]
    return next((node.kwargs[name] for name in names if name in node.kwargs), default)


def function_name(target: Any) -> str:
    """``relu`` for ``torch.relu``, ``F.relu`` and ``x.relu()``."""
    return str(target if isinstance(target, str) else getattr(target, "__name__", ""))
