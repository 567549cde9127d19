"""Tracks the numbers in a forward that depend on how many channels a value has.

Such a number changes with pruning. A reshape may use it as its number of channels; if anything else computes with it,
the channels that it counts must stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

HARMLESS = (
    "dim", "ndim", "ndimension", "dtype", "device", "layout", "is_cuda", "get_device", "is_floating_point",
    "is_complex", "element_size", "requires_grad", "len",
)  # fmt: skip
"""Properties of a tensor that do not depend on its channels."""
RESHAPES = ("view", "reshape")


class Counts:
    """Nodes that return numbers or shapes -> the values whose channels they depend on."""

    def __init__(self) -> None:
        self._of: dict[fx.Node, tuple[fx.Node, ...]] = {}
        self._shape_of: dict[fx.Node, fx.Node] = {}
        """Whole shapes."""
        self._channels_of: dict[fx.Node, fx.Node] = {}
        """Numbers that equal a value's number of channels."""

    def note(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> None:
        """Record a node that returns no tensor; ``values`` are the channels of those that do."""
        source = node.all_input_nodes[0] if node.all_input_nodes else None
        name = _name(node)
        if source is None or name in HARMLESS:
            return
        prunable = values.get(source) is not None
        if prunable and name in ("shape", "size"):
            dim = node.args[1] if name == "size" and len(node.args) > 1 else node.kwargs.get("dim")
            if dim is None:  # an output size uses only its positions
                self._shape_of[node] = source
            self._take(node, source, dim)
        elif name == "getitem" and source in self._shape_of:
            self._take(node, self._shape_of[source], node.args[1])
        else:
            known = [s for n in node.all_input_nodes for s in self._of.get(n, ())]
            known += [n for n in node.all_input_nodes if values.get(n) is not None]
            self._of[node] = tuple(dict.fromkeys(known))

    def _take(self, node: fx.Node, source: fx.Node, index: Any) -> None:
        """Record the sizes of ``source`` in the dimensions that ``index`` names."""
        index = slice(None) if index is None else index
        parts = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
        if any(isinstance(part, fx.Node) for part in parts):
            self._of[node] = (source,)
            return
        dims = range(len(source.meta["tensor_meta"].shape))[index]
        if dims == 1:
            self._channels_of[node] = source
        if dims == 1 or (isinstance(dims, range) and 1 in dims):
            self._of[node] = (source,)

    def used_by(self, node: fx.Node, called: nn.Module | None = None) -> list[fx.Node]:
        """The values whose number of channels a node computes with, except to keep it in a reshape."""
        kept = self._kept_by(node)
        if isinstance(called, nn.MaxUnpool2d | nn.ConvTranspose2d) or _name(node) == "max_unpool2d":
            kept = [shape for shape in self._shape_of if shape is node.kwargs.get("output_size") or shape in node.args]
        used = [s for n in node.all_input_nodes if n not in kept for s in self._of.get(n, ())]
        return list(dict.fromkeys(used))

    def _kept_by(self, node: fx.Node) -> list[fx.Node]:
        """The number of channels used as dimension 1 of the same value's new shape."""
        if _name(node) not in RESHAPES or len(node.args) < 2:
            return []
        sizes = node.args[1] if isinstance(node.args[1], tuple | list) else node.args[1:]
        if len(sizes) < 2 or not isinstance(sizes[1], fx.Node) or self._channels_of.get(sizes[1]) is not node.args[0]:
            return []
        return [] if sizes[1] in (*sizes[:1], *sizes[2:]) else [sizes[1]]


def _name(node: fx.Node) -> str:
    """``shape`` for ``x.shape``, ``size`` for ``x.size(1)``."""
    if node.op == "call_module":
        return ""
    if node.target is getattr and isinstance(node.args[1], str):
        return node.args[1]
    target = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", ""))
