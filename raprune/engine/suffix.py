"""The part of a network above the decided layer as a separate module, to be trained or recalibrated.

The part below stays in eval mode, so its values for a training batch are the same for all candidates.
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
    """The part of ``network`` from the nodes that read ``layer`` to the output, with the network's own modules.

    It maps crossing values to logits.
    """
    return part_of(network, divide(network, graph.group(layer)).suffix)


def recalibrate(network: nn.Module, batches: Iterable[Crossing]) -> None:
    """Set batch norms' running statistics to the plain average over ``batches``; leaves the network in eval mode.

    Norms that stay in eval mode while the network trains keep their statistics.
    """
    held = held_in_eval(network)
    named = [(name, m) for name, m in network.eval().named_modules() if isinstance(m, _BatchNorm)]
    norms = [norm for name, norm in named if norm.track_running_stats and name not in held]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # all batches weigh the same
        norm.train()
    try:
        with torch.no_grad():
            for values in batches:
                network(*values)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
