"""The part of a network above the decided layer as a module of its own, to be trained or to have its norms measured.

The part below stays as it is in eval mode, so what it gives for a training batch is the same for all candidates.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raprune.engine.split import Crossing, divide
from raprune.network.graph import Graph
from raprune.network.graph.module import held_in_eval, part_of


def above(network: fx.GraphModule, graph: Graph, layer: str) -> fx.GraphModule:
    """What of ``network`` reads ``layer``, to the output: crossing values to logits, with the network's own modules."""
    return part_of(network, divide(network, graph.group(layer)).suffix)


def recalibrate(network: nn.Module, batches: Iterable[Crossing]) -> None:
    """Batch norms' running statistics become the plain average over ``batches``; the network is left in eval mode.

    Norms that are held in eval mode when the network trains keep theirs.
    """
    held = held_in_eval(network)
    named = [(name, m) for name, m in network.eval().named_modules() if isinstance(m, _BatchNorm)]
    norms = [norm for name, norm in named if norm.track_running_stats and name not in held]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts alike
        norm.train()
    try:
        with torch.no_grad():
            for values in batches:
                network(*values)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
