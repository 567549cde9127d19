"""Does the smaller network compute what the masked one does? Runs both node by node and names the first difference.

The definition: a channel that the keep masks remove is zero at every node, after norms and activations.

Each node of the smaller network reads the masked network's values, without the absent channels, and must return what
the masked node returns. If every node agrees on equal inputs, so do the networks, and errors do not add up along the
depth: the tolerance is that of one node's sums in the precision at hand, however deep the network is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.engine.arithmetic import exact_arithmetic, same_arithmetic
from raprune.errors import InputError, first_line
from raprune.network.graph import Cuts, Graph, Traced, present
from raprune.network.surgery import cut_tensors, refill, refillable, shrink

ROUNDING = 64
"""Factor on the expected rounding error of one sum: the largest difference among many sums is compared."""
LEAST_OF_LESS = 1e-4
"""Least tolerance below float64: there an algorithm may transform its summands first."""
BATCHES = (2, 3, 1)
"""Images in each run in turn: they differ, so that a forward that assumes a number of images shows."""

Masks = dict[str, Tensor]


def random_cuts(graph: Graph, generator: torch.Generator, keep: float = 0.6) -> Masks:
    """Random keep masks for every layer, each with at least one filter."""
    cuts = {}
    for layer, group in graph.groups.items():
        mask = torch.rand(group.num_filters, generator=generator) < keep
        mask[torch.randint(group.num_filters, (1,), generator=generator)] = True
        cuts[layer] = mask
    return cuts


def cuts_to_try(graph: Graph, generator: torch.Generator) -> Iterator[Masks]:
    """Keep masks of different kinds: random ones, one filter per layer, the first half of each layer.

    Then masks that cut only some layers, so that for any two layers one is cut without the other: about 2 log2(layers)
    of them.
    """
    yield random_cuts(graph, generator)
    yield random_cuts(graph, generator, keep=0.0)
    yield {layer: torch.arange(g.num_filters) < max(1, g.num_filters // 2) for layer, g in graph.groups.items()}
    for bit in range(max(1, (len(graph.groups) - 1).bit_length())):
        masks = random_cuts(graph, generator)
        for value in (0, 1):
            some = {layer: mask for place, (layer, mask) in enumerate(masks.items()) if place >> bit & 1 == value}
            if some:
                yield some


def prove(traced: Traced, input_shape: tuple[int, ...], seed: int = 0) -> None:
    """Compare masked and smaller network under masks of many kinds, with random norms so that constants show.

    Masks that cut every layer run in float64, or in the network's own precision if its forward requires that; masks
    that cut only some layers run in its own. Raises :class:`InputError` with the first node at which the networks
    differ, and the layers whose masks cause it.
    """
    with same_arithmetic():
        exact_arithmetic(next(traced.network.parameters()).device)
        _prove(traced, input_shape, seed)


def _prove(traced: Traced, input_shape: tuple[int, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    own = next(traced.network.parameters()).dtype
    exact: _Pair | None = _Pair(traced, torch.float64, generator)
    single: _Pair | None = None
    for place, cuts in enumerate(cuts_to_try(traced.graph, generator)):
        images = torch.randn(BATCHES[place % 3], *input_shape, generator=generator) * (1.0, 3.0)[place % 2]
        if exact is not None and len(cuts) == len(traced.graph.groups):
            try:
                exact.compare(cuts, images)
                continue
            except Fails:
                if place > 0:
                    raise
                exact = None  # it does not run in float64
        single = single or _Pair(traced, own, torch.Generator().manual_seed(seed))
        single.compare(cuts, images)


class _Pair:
    """A copy of a network with random norms, and another copy to make smaller."""

    def __init__(self, traced: Traced, dtype: torch.dtype, generator: torch.Generator) -> None:
        network = copy.deepcopy(traced.network).to(dtype).eval()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                _enliven(module, generator)
        self.whole = Traced(network, traced.graph)
        self._scratch = copy.deepcopy(network) if refillable(network) else None

    def compare(self, cuts: Cuts, images: Tensor) -> None:
        """Run both; raise :class:`InputError` where they differ, with the layers that cause it."""
        difference = self._difference(cuts, images)
        if difference is None:
            return
        graph = self.whole.graph
        near = [layer for layer in cuts if any(graph.touches(ids, graph.groups[layer]) for ids in difference.seen)]
        alone = [layer for layer in near if self._difference({layer: cuts[layer]}, images)]
        raise InputError(_message(difference, alone or near))

    @torch.no_grad()
    def _difference(self, cuts: Cuts, images: Tensor) -> Differs | None:
        first = next(self.whole.network.parameters())
        try:
            SideBySide(self.whole, self._smaller(cuts), cuts).run(images.to(first.device, first.dtype))
        except Differs as differs:
            return differs
        return None

    def _smaller(self, cuts: Cuts) -> nn.Module:
        if self._scratch is None:
            return shrink(self.whole, cuts)
        graph = self.whole.graph
        return refill(self._scratch, graph, cuts, cut_tensors(graph, self.whole.network.state_dict(), {}, cuts))


class Fails(InputError):
    """A network that fails for some number of images, or in some precision."""


class Differs(Exception):
    """A node of the smaller network whose result differs from the masked network's."""

    def __init__(self, node: fx.Node, how: str, seen: list[Any]) -> None:
        super().__init__(how)
        self.node = node
        self.seen = seen
        """The channels of the node's result and of its inputs."""


class SideBySide(fx.Interpreter):
    """Runs the masked network, and each node of the smaller one on the masked network's values."""

    def __init__(self, traced: Traced, small: nn.Module, cuts: Cuts) -> None:
        super().__init__(traced.network)
        self.extra_traceback = False  # our error says everything
        assert isinstance(small, fx.GraphModule)
        self.channels = traced.graph.values
        kept = traced.graph.kept(cuts)
        self.keep = {name: torch.from_numpy(present(ids, kept)) for name, ids in self.channels.items()}
        self.small = fx.Interpreter(small)
        self.twins = {node.name: node for node in small.graph.nodes}
        self.nodes = {node.name: node for node in traced.network.graph.nodes}
        self.number = 0
        """Number of images."""
        self.numbers: dict[str, Any] = {}
        """Results of the smaller network's nodes that are not tensors: its own sizes."""

    def run_node(self, n: fx.Node) -> Any:
        """The masked value of a node, once it has been compared with the smaller network's."""
        keep = self.keep.get(n.name)
        if n.op == "placeholder":
            images: Tensor = super().run_node(n)
            self.number = len(images)
            return images
        twin = self.twins[n.name]
        pure = n.op == "call_module" and type(self.fetch_attr(str(n.target))).__module__.startswith("torch.nn.")
        args, kwargs = (fx.map_arg(given, lambda read: self._given(read, pure)) for given in (twin.args, twin.kwargs))
        try:
            out = _each(super().run_node(n), lambda value: value if keep is None else _masked(value, keep))
        except RuntimeError as error:
            first = first_line(error)
            raise Fails(f"with {self.number} images, node {n.name} raises an error: {first}") from error
        if keep is not None and any(len(value) not in (1, self.number) for value in _tensors(out)):
            raise Fails(
                f"with {self.number} images, node {n.name} returns values for another number of images: its "
                "forward fixes that number"
            )
        try:
            other = getattr(self.small, n.op)(twin.target, args, kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._differs(n, f"an error: {first_line(error)}") from error
        if not _tensors(other):
            self.numbers[n.name] = other
        self._compare(n, out, other, keep)
        return out

    def _given(self, node: fx.Node, pure: bool) -> Any:
        """What a node of the smaller network reads; a copy where the node might write into it."""
        if node.name in self.numbers:
            return self.numbers[node.name]
        keep = self.keep.get(node.name)
        value = self.env[self.nodes[node.name]]
        return value if keep is None and pure else _each(value, lambda tensor: _without(tensor, keep))

    def _compare(self, node: fx.Node, out: Any, other: Any, keep: Tensor | None) -> None:
        values, others = _tensors(out), _tensors(other)
        if len(values) != len(others):
            raise self._differs(node, f"{len(others)} values instead of {len(values)}")
        for value, small in zip(values, others, strict=True):
            expected = value if keep is None else value[:, keep.to(value.device)]
            if expected.shape != small.shape:
                raise self._differs(node, f"shape {tuple(small.shape)} instead of {tuple(expected.shape)}")
            if expected.is_floating_point() and expected.numel():
                worst = (expected - small).abs().max()
                if not worst <= self._tolerance(node, expected) * expected.abs().max().clamp(min=1e-30):
                    raise self._differs(node, f"values that differ by up to {float(worst):.2g}")

    def _tolerance(self, node: fx.Node, value: Tensor) -> float:
        """Largest difference relative to a node's largest value: the rounding error of a sum of that many terms."""
        terms = [1]
        for source in node.all_input_nodes:
            terms += [math.prod(t.shape[2:]) for t in _tensors(self.env.get(source))]
        if node.op == "call_module":
            weight = getattr(self.fetch_attr(str(node.target)), "weight", None)
            if isinstance(weight, Tensor) and weight.dim() > 1:
                terms.append(weight.numel() // max(1, min(weight.shape[:2])))
        rounding = ROUNDING * math.sqrt(max(terms)) * torch.finfo(value.dtype).eps
        return rounding if value.dtype is torch.float64 else max(rounding, LEAST_OF_LESS)

    def _differs(self, node: fx.Node, how: str) -> Differs:
        ids = [self.channels.get(near.name) for near in (node, *node.all_input_nodes)]
        return Differs(node, how, [channels for channels in ids if channels is not None])


def _message(difference: Differs, layers: list[str]) -> str:
    node = difference.node
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.target)
    cut = f" where {', '.join(layers)} {'is' if len(layers) == 1 else 'are'} cut" if layers else ""
    return (
        f"the smaller network differs from the masked one: node {node.name} ({target}) returns {difference}{cut}; to "
        f"leave what it reads whole, set model: {{..., whole: [{node.name}]}}"
    )


def _enliven(norm: Any, generator: torch.Generator) -> None:
    """Give a norm random factors, shifts and statistics, in place."""
    for tensor, low, high in (
        (norm.weight, 0.5, 1.5), (norm.bias, -0.5, 0.5), (norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 1.5),
    ):  # fmt: skip
        if tensor is not None:
            draws = torch.rand(tensor.shape, dtype=torch.float64, generator=generator)
            with torch.no_grad():
                tensor.copy_(low + (high - low) * draws)


def _masked(value: Tensor, keep: Tensor) -> Tensor:
    """``value`` with zeros in place of the channels that are not kept, even of NaN."""
    return torch.where(keep.to(value.device).view(1, -1, *[1] * (value.dim() - 2)), value, torch.zeros_like(value))


def _without(value: Tensor, keep: Tensor | None) -> Tensor:
    """A copy of ``value`` with only the kept channels."""
    return value.clone() if keep is None else value[:, keep.to(value.device)]


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
        return tuple(change(v) if isinstance(v, Tensor) else v for v in value)
    return value


def _tensors(value: Any) -> list[Tensor]:
    return [v for v in (value if isinstance(value, list | tuple) else (value,)) if isinstance(v, Tensor)]
