"""Rewrites what surgery cannot keep in a traced graph: in-place operations and reshapes with fixed channel counts."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
from torch import fx, nn

from raprune.network.graph.walk import function_name, shape

IN_PLACE = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    operator.itruediv: operator.truediv, torch.relu_: torch.relu, nn.functional.relu_: nn.functional.relu,
}  # fmt: skip
"""Functions that change their argument -> their counterparts that do not."""


def out_of_place(module: fx.GraphModule) -> None:
    """Make every operation leave its arguments unchanged, since values are kept and reused, even by other candidates.

    A network that relies on the change computes something else then, which the caller must check.
    """
    for node in module.graph.nodes:
        if node.op == "call_module":
            for part in module.get_submodule(str(node.target)).modules():
                if getattr(part, "inplace", False) is True:
                    setattr(part, "inplace", False)  # noqa: B010  (not an attribute of every module)
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            if hasattr(torch.Tensor, node.target[:-1]):
                node.target = node.target[:-1]
        elif node.op == "call_function":
            node.target = IN_PLACE.get(node.target, node.target)
            _without_inplace(node)


def _without_inplace(node: fx.Node) -> None:
    """``F.relu(x, True)`` and ``F.relu(x, inplace=True)`` without it."""
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    target: Any = node.target
    try:
        names = list(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # a built-in without a signature
        return
    if "inplace" in names and len(node.args) > names.index("inplace"):
        args = list(node.args)
        args[names.index("inplace")] = False
        node.args = tuple(args)


def follow_channels(module: fx.GraphModule) -> None:
    """Make reshapes with a fixed number of channels or features follow the actual channels instead."""
    for node in list(module.graph.nodes):
        if node.op not in ("call_method", "call_function") or function_name(node.target) not in ("view", "reshape"):
            continue
        source = node.all_input_nodes[0]
        if "tensor_meta" not in source.meta or "tensor_meta" not in node.meta:
            continue
        before, after = shape(source), shape(node)
        sizes = _sizes(module, node, len(after))
        if len(before) > 2 and len(after) == 2 and after[0] == before[0]:
            with module.graph.inserting_before(node):
                flat = module.graph.call_function(torch.flatten, (source, 1))
            node.replace_all_uses_with(flat)
            module.graph.erase_node(node)
        elif len(after) > 2 and after[:2] == before[:2] and len(sizes) == len(after) and sizes[1] != -1:
            with module.graph.inserting_before(node):
                channels = module.graph.call_method("size", (source, 1))
            node.args = (source, (sizes[0], channels, *sizes[2:]))
            node.kwargs = {}
    module.graph.eliminate_dead_code()


def _sizes(module: fx.GraphModule, node: fx.Node, rank: int) -> tuple[Any, ...]:
    """The target shape of a view or reshape, number by number."""
    rest: list[Any] = [*node.args[1:], *(v for k, v in node.kwargs.items() if k in ("shape", "size"))]
    if len(rest) == 1 and isinstance(rest[0], fx.Node) and rank > 1:  # another tensor's shape as a whole
        with module.graph.inserting_before(node):
            return tuple(module.graph.call_function(operator.getitem, (rest[0], place)) for place in range(rank))
    if len(rest) == 1 and isinstance(rest[0], list | tuple):
        return tuple(rest[0])
    return tuple(rest)
