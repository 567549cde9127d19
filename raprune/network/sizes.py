"""The networks of a trial's states, built on the CPU and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from raprune.network.graph import Traced
from raprune.network.measure import NetworkSize, latency_s, size_of
from raprune.network.state import State
from raprune.network.surgery import build


class Sizes:
    """Builds the network of a state on the CPU and measures it."""

    def __init__(self, traced: Traced, weights: Mapping[str, Tensor], input_shape: tuple[int, int, int]) -> None:
        self.traced = traced
        self.graph = traced.graph
        self.weights = weights
        self.input_shape = input_shape

    def network(self, state: State) -> nn.Module:
        """The physically smaller network."""
        return build(self.traced, state.keep_masks(), state.tensors(self.graph, self.weights), state.factors).eval()

    def of(self, state: State) -> NetworkSize:
        return size_of(self.network(state), self.input_shape)

    def latency_s(self, state: State) -> float:
        return latency_s(self.network(state), self.input_shape)

    def filters(self, state: State, layers: Sequence[str]) -> tuple[int, int, int]:
        """Filters and kept filters of all convolutions in the groups ``layers``, and how many groups stayed whole."""
        masks = state.keep_masks()
        num_filters, num_kept = self.graph.num_kept(masks, layers)
        return num_filters, num_kept, sum(name not in masks or bool(masks[name].all()) for name in layers)

    def pruning_ratio(self, state: State, layers: Sequence[str]) -> float:
        num_filters, num_kept, _ = self.filters(state, layers)
        return 1 - num_kept / num_filters
