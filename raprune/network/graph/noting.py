"""The shapes of a traced network's values, noted at its nodes.

As ``torch.fx.passes.shape_prop`` does it, but that imports a library for symbolic shapes, which takes most of a second
in every process that traces a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class OfTensor:
    """What is noted of a tensor."""

    shape: torch.Size


class _Noting(fx.Interpreter):
    """Runs a network, and notes what each node returns."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        tensors: list[Tensor] = []

        def noted(of: Any) -> Any:
            if not isinstance(of, Tensor):
                return of
            tensors.append(of)
            return OfTensor(of.shape)

        found = fx.node.map_aggregate(value, noted)
        if tensors:
            n.meta["tensor_meta"] = found
        n.meta["type"] = type(value)
        return value


@torch.no_grad()
def note_shapes(module: fx.GraphModule, images_BCHW: Tensor) -> None:
    """Set every node's ``tensor_meta`` and ``type`` for ``images_BCHW``, in eval mode."""
    _Noting(module.eval()).run(images_BCHW.clone())
