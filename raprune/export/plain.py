"""A pruned network in the form that exporters need: built from torch's own modules alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from raprune.export.refusals import Refused
from raprune.export.unpooling import rewritten
from raprune.network.graph import Align
from raprune.network.graph.modes import WideDropout


class ChannelsFirst(torch.nn.Module):
    """What an :class:`raprune.network.graph.Align` returns, without its detour through channels-last.

    ONNX Runtime would take that detour literally: two transposes of every value.
    """

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, values_BC: Tensor) -> Tensor:
        zeros = values_BC.new_zeros(values_BC.shape[0], 1, *values_BC.shape[2:])
        return torch.cat([values_BC, zeros], 1).index_select(1, self.index)


def plain(network: fx.GraphModule) -> fx.GraphModule:
    """A copy for inference: gathers along channels, without raprune's modules that then do nothing."""
    changed = copy.deepcopy(network).eval()
    for node in list(changed.graph.nodes):
        if node.op != "call_module":
            continue
        module: Any = changed.get_submodule(str(node.target))
        if isinstance(module, Align) and module.index.numel():
            changed.set_submodule(str(node.target), ChannelsFirst(module.index))
        elif isinstance(module, Align | WideDropout):
            node.replace_all_uses_with(node.all_input_nodes[0])
            changed.graph.erase_node(node)
    changed.delete_all_unused_submodules()
    changed.recompile()
    return changed


def first_accepted(network: fx.GraphModule, write: Callable[[fx.GraphModule], None]) -> str | None:
    """Have ``write`` take ``network``, :func:`plain`; where it refuses, with its un-pooling rewritten.

    Returns a sentence in the second case; raises the first :class:`Refused` where there is nothing to rewrite.
    """
    changed = plain(network)
    try:
        write(changed)
    except Refused as error:
        other = rewritten(changed)
        if other is None:
            raise
        write(other)
        return f"its un-pooling is written as comparisons, because otherwise {error}"
    return None
