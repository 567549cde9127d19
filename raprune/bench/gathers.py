"""The cost of sums in a pruned residual network: gathering channels, which multiply-adds do not count."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from raprune.bench.backends import images
from raprune.network.graph import Cuts, Traced

WARM_UP, RUNS = 3, 10
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Gathers:
    """The :class:`raprune.network.graph.Align` modules of a network that move channels."""

    layers: Mapping[str, str]
    """Module -> the convolution, or the sum, whose channels it moves."""

    @classmethod
    def of(cls, traced: Traced, cuts: Cuts) -> Gathers:
        """Those of the network of ``cuts``, in the order in which they run."""
        kept = traced.graph.kept(cuts)
        moving = {site.module for site in traced.graph.sites if site.index(kept).numel()}
        nodes = [node for node in traced.network.graph.nodes if node.op == "call_module" and node.target in moving]
        return cls({str(node.target): _source(traced.network, node) for node in nodes})


def _source(network: fx.GraphModule, align: fx.Node) -> str:
    """The convolution that gives what ``align`` moves; where several do, the node that joins them."""
    node = align.all_input_nodes[0]
    while len(node.all_input_nodes) == 1:
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), CONVOLUTIONS):
            return str(node.target)
        node = node.all_input_nodes[0]
    return node.name


@torch.inference_mode()
def share_of_time(network: nn.Module, modules: Iterable[str], shape: tuple[int, ...], threads: int) -> float:
    """Share of the seconds of a forward pass on the CPU, not compiled, that goes into ``modules``; over some runs."""
    torch.set_num_threads(threads)
    network = copy.deepcopy(network).to(memory_format=torch.channels_last)
    batch_BCHW = torch.from_numpy(images(shape)).contiguous(memory_format=torch.channels_last)
    started = inside = 0.0

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal started
        started = time.perf_counter()

    def leave(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal inside
        inside += time.perf_counter() - started

    for module in map(network.get_submodule, modules):
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    for _ in range(WARM_UP):
        network(batch_BCHW)
    inside, start = 0.0, time.perf_counter()
    for _ in range(RUNS):
        network(batch_BCHW)
    return inside / (time.perf_counter() - start)
