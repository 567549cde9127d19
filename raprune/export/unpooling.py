"""Un-pooling by indices written as a comparison, for exporters and runtimes that do not take ``max_unpool2d``.

``max_unpool2d`` scatters each pooled value to the place that its index names. Where the windows of the pool do not
overlap, every place lies in one window and can be computed alone: it gets its window's value if the window's index is
this place, else 0. Values are only copied, so the result is equal to the last bit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.network.graph.walk import function_name

MODULE = ("input", "indices", "output_size")
FUNCTION = ("input", "indices", "kernel_size", "stride", "padding", "output_size")
"""Arguments of ``nn.MaxUnpool2d`` and of ``F.max_unpool2d``, in their order."""


def rewritten(network: fx.GraphModule) -> fx.GraphModule | None:
    """A copy of ``network`` with its un-poolings as comparisons; ``None`` where it has none that can be."""
    changed = copy.deepcopy(network)
    nodes = list(_unpoolings(changed))
    for node, window in nodes:
        name = f"{node.name}_by_comparison"
        changed.add_submodule(name, UnpoolByComparison(*window))
        values, indices, size = _arguments(node)
        with changed.graph.inserting_before(node):
            new = changed.graph.call_module(name, (values, indices, size))
        node.replace_all_uses_with(new)
        changed.graph.erase_node(node)
    if not nodes:
        return None
    changed.delete_all_unused_submodules()
    changed.recompile()
    return changed


def unpools(network: fx.GraphModule) -> bool:
    """Whether values are put where a pool's indices say."""
    return any(_geometry(network, node) is not None for node in network.graph.nodes)


class UnpoolByComparison(nn.Module):
    """``nn.MaxUnpool2d`` of a pool whose windows touch and do not overlap, of ``window`` rows and columns."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns

    def forward(self, values_BCHW: Tensor, indices_BCHW: Tensor, output_size: Any = None) -> Tensor:
        """Values, and their places in a plane of ``output_size`` (its last two are rows and columns)."""
        height, width = values_BCHW.shape[2] * self.rows, values_BCHW.shape[3] * self.columns
        if output_size is not None:
            height, width = output_size[-2], output_size[-1]
        values, indices = self._spread(values_BCHW, height, width, 0), self._spread(indices_BCHW, height, width, -1)
        places_HW = torch.arange(height * width, device=values.device).view(height, width)
        return torch.where(indices == places_HW, values, torch.zeros((), dtype=values.dtype, device=values.device))

    def _spread(self, of_BCHW: Tensor, height: int, width: int, beyond: int) -> Tensor:
        """Each entry over its window; ``beyond`` where a pool that rounds down left rows or columns out."""
        spread = of_BCHW.repeat_interleave(self.rows, 2).repeat_interleave(self.columns, 3)[:, :, :height, :width]
        missing = (0, width - spread.shape[3], 0, height - spread.shape[2])
        return nn.functional.pad(spread, missing, value=beyond) if any(missing) else spread


def _unpoolings(network: fx.GraphModule) -> Iterator[tuple[fx.Node, tuple[int, int]]]:
    """Un-poolings of windows that touch, do not overlap and are not padded, with the windows."""
    for node in list(network.graph.nodes):
        geometry = _geometry(network, node)
        if geometry is not None:
            window, stride, padding = map(_pair, geometry)
            if window == stride and padding == (0, 0):
                yield node, window


def _geometry(network: fx.GraphModule, node: fx.Node) -> tuple[Any, Any, Any] | None:
    """Window, stride and padding of an un-pooling; ``None`` for anything else."""
    if node.op == "call_module":
        module: Any = network.get_submodule(str(node.target))
        return (module.kernel_size, module.stride, module.padding) if isinstance(module, nn.MaxUnpool2d) else None
    if node.op != "call_function" or function_name(node.target) != "max_unpool2d":
        return None
    given = _given(node, FUNCTION)
    window, stride = given["kernel_size"], given.get("stride")
    return window, window if stride is None or stride == () else stride, given.get("padding", 0)


def _arguments(node: fx.Node) -> tuple[Any, Any, Any]:
    """Values, indices and size."""
    given = _given(node, MODULE if node.op == "call_module" else FUNCTION)
    return given["input"], given["indices"], given.get("output_size")


def _given(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
