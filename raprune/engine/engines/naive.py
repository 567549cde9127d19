"""The reference: plain PyTorch, the whole network of a state, masked, on every image, for every candidate.

It takes no shortcut: every faster engine must agree with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, nn

from raprune.engine.base import Engine, Forward
from raprune.engine.cache.prefix import Store
from raprune.engine.contract import EngineKind
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload
from raprune.network.graph import Cuts, Graph, Group, present
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.registry import ENGINES
from raprune.study.parts import EvaluatorsSpec


@ENGINES.register("naive")
class Naive(EngineKind):
    """Plain PyTorch, the reference: the whole network, masked, on every image, for every candidate."""

    has_fidelities = False
    gives_up = False
    reuses = False

    def open(
        self, workload: Workload, device: str, spec: EvaluatorsSpec, store: Store | None, inputs: Inputs | None
    ) -> Engine:
        del spec, store
        return NaiveEngine(workload, device, inputs=inputs)


class NaiveEngine(Engine):
    """Multiplies the channels of pruned filters by zero where they are read."""

    def __init__(
        self,
        workload: Workload,
        device: str = "cpu",
        memory_format: torch.memory_format = torch.channels_last,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(workload, device, inputs)
        self.memory_format = memory_format

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        """As the contract says; ``start`` is not used."""
        del start
        began = time.perf_counter()
        network = self.build(state)
        assert isinstance(network, fx.GraphModule)
        cuts = state.cut(self.graph, layer, mask).keep_masks()
        masked = mask_channels(network, self.graph, state.keep_masks(), cuts).to(self.device)
        num_steps = self._num_steps(self.workload.finetune.before_reward)
        if num_steps:
            self._train(masked, num_steps, state.version, "reward")
        masked.to(memory_format=self.memory_format)
        with torch.inference_mode():
            tally = self._scored(masked, self.splits.val)
        return Scored(tally.score(lowest), tally.num_images, time.perf_counter() - began, tally)

    def forward(self, state: State) -> Forward:
        forward: Forward = self.built(state).network
        return forward

    def as_input(self, images_BCHW: Tensor) -> Tensor:
        return super().as_input(images_BCHW).contiguous(memory_format=self.memory_format)


def mask_channels(network: fx.GraphModule, graph: Graph, old: Cuts, new: Cuts) -> fx.GraphModule:
    """Zero the channels that ``new`` prunes and ``old`` does not wherever they are read, in place.

    ``network`` is the network of ``old``. Channels are read by the nodes that mix them, and by the sums that put them
    into another layout.
    """
    before, after = graph.kept(old), graph.kept(new)
    changed = [graph.group(layer) for layer, mask in new.items() if layer not in old or not mask.equal(old[layer])]
    readers = set(_readers(network, graph, changed))
    for node in list(network.graph.nodes):
        ids = graph.values.get(node.name)
        users = [user for user in node.users if user in readers]
        if ids is None or not users or not any(graph.touches(ids, group) for group in changed):
            continue
        keep = torch.from_numpy(present(ids[:, present(ids, before)], after))
        name = f"keep_{node.name}"
        network.add_submodule(name, Keep(keep))
        with network.graph.inserting_after(node):
            masked = network.graph.call_module(name, (node,))
        for user in users:
            user.replace_input_with(node, masked)
    network.recompile()
    return network


class Keep(nn.Module):
    """Zeroes channels."""

    factor: Tensor

    def __init__(self, keep_C: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", keep_C.to(torch.get_default_dtype()), persistent=False)

    def forward(self, values_BC: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return values_BC * self.factor.view(1, -1, *[1] * (values_BC.dim() - 2)).to(values_BC.dtype)


def _readers(network: fx.GraphModule, graph: Graph, changed: Sequence[Group]) -> Iterator[fx.Node]:
    sites, consumers = {site.module for site in graph.sites}, {name for group in changed for name in group.consumers}
    for node in network.graph.nodes:
        if node.name in consumers or (node.op == "call_module" and node.target in sites):
            yield node
