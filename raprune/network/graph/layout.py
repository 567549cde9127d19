"""The indices of a cut network's own modules: where channels move for sums, which of dropout's draws are used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from raprune.network.graph.network import Graph
from raprune.network.graph.units import Kept, present


def indices(graph: Graph, kept: Kept) -> dict[str, Tensor]:
    """Buffer name -> index of every :class:`Align` and :class:`WideDropout`; empty if nothing moves."""
    out = {f"{site.module}.index": site.index(kept) for site in graph.sites}
    for drop in graph.dropouts:
        here = present(drop.ids, kept)
        out[f"{drop.tensor}.index"] = torch.from_numpy(here.nonzero()[0])[: None if not here.all() else 0]
    return out


def lay_out(network: nn.Module, graph: Graph, kept: Kept) -> nn.Module:
    """Set the indices of ``network`` in place."""
    device = next(network.parameters()).device
    for name, index in indices(graph, kept).items():
        network.get_submodule(name.rpartition(".")[0]).index = index.to(device)
    for norm in graph.bare_norms:
        module: Any = network.get_submodule(norm.tensor)
        module.num_features = int(present(norm.ids, kept).sum())
    return network
