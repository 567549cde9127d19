"""Does the fast engine compute the network? Both run on real images before a candidate is scored.

The comparison covers the network itself and a random cut of every layer, in float64: there, rounding cannot hide a
dropped hook or an overwritten value. The error names the first node that differs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.engine.arithmetic import exact_arithmetic, same_arithmetic
from raprune.engine.kernels.convolutions import FusedConv
from raprune.engine.kernels.program import Program, compile_module, is_tensor
from raprune.engine.split import Halves, channels_last, narrowed, split
from raprune.engine.stacking import num_slots, stacked
from raprune.errors import InputError, first_line
from raprune.network.graph import Cuts, Traced
from raprune.network.surgery import build, cut_tensors, refill, refillable
from raprune.plugins.datasets.base import Splits, normalise

NUM_IMAGES = 2
TOLERANCE = 1e-8
"""Largest difference in float64, relative to the largest value; rounding stays a thousand times below it."""
LOOSE = 1e-3
"""The same where the network computes in lower precision."""

Steps = Iterator[tuple[str, Any]]
"""Names of the network's nodes, with what an engine computes for them."""


def example(splits: Splits, network: nn.Module) -> Tensor:
    """Some validation images, normalised for ``network``."""
    dtype = next(network.parameters()).dtype
    return normalise(splits.val.at(slice(NUM_IMAGES)).to(splits.val.labels_B.device), splits, dtype)


@same_arithmetic()
@torch.no_grad()
def check_agreement(traced: Traced, images_BCHW: Tensor, slots: int = 1) -> None:
    """Compare the engine with the plain network on ``images_BCHW`` (normalised), on their device.

    ``slots``: masks per launch of the engine. Raises :class:`InputError` that names the first node at which the engine
    differs, and the layer that was cut.
    """
    images = images_BCHW[:NUM_IMAGES]
    exact_arithmetic(images.device)
    try:
        network = copy.deepcopy(traced.network).to(torch.float64)
        network(images.to(torch.float64))
        dtype, tolerance = torch.float64, TOLERANCE
    except (RuntimeError, TypeError):  # its forward or its device requires lower precision
        network, dtype, tolerance = copy.deepcopy(traced.network), images.dtype, LOOSE
    channels_last(network).eval()
    _Comparison(Traced(network, traced.graph), images.to(dtype), tolerance).run(slots)


class _Comparison:
    def __init__(self, traced: Traced, images: Tensor, tolerance: float) -> None:
        self.traced = traced
        self.network = traced.network
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.tolerance = tolerance
        self.tensors = self.network.state_dict()
        self.convs: dict[str, FusedConv] = {}
        self.scratch: nn.Module | None = None
        """Becomes the smaller network of every layer, where one network can."""

    def run(self, slots: int) -> None:
        program = compile_module(self.network, self.convs)
        self._compare(self.network, [lambda: program(self._input())], lambda: _steps(program, {}, self._input()), "")
        generator = torch.Generator().manual_seed(0)
        for layer, group in self.traced.graph.groups.items():
            if group.num_filters == 1:
                continue
            mask = random_cut(group.num_filters, generator)
            halves = split(self.network, self.traced.graph, layer, {}, self.convs)
            small = self._cut({layer: mask})
            if halves is None:
                self._compare_whole(small, layer)
            else:
                self._compare_halves(small, halves, mask, slots)

    def _compare_whole(self, small: fx.GraphModule, layer: str) -> None:
        program = compile_module(small)
        self._compare(small, [lambda: program(self._input())], lambda: _steps(program, {}, self._input()), layer)

    def _compare_halves(self, small: fx.GraphModule, halves: Halves, mask: Tensor, slots: int) -> None:
        crossing = halves.prefix(self._input())
        before = [value.clone() if isinstance(value, Tensor) else value for value in crossing]
        ways: list[Callable[[], Any]] = [partial(halves.candidate(mask), crossing)]
        if slots > 1 and num_slots(halves, self._input()[:1], len(self.images)) > 1:
            ways.append(lambda: stacked(halves, [~mask, mask], slots)(crossing)[1])
        self._compare(small, ways, lambda: self._cut_steps(halves, mask), halves.layer)
        if any(isinstance(old, Tensor) and not _same(old, new) for old, new in zip(before, crossing, strict=True)):
            raise InputError(
                f"a module that reads {halves.layer} changes its input in place, and raprune cannot tell which: name "
                "it in the model's whole, or use the plain network (evaluators: {engine: naive})"
            )

    def _cut_steps(self, halves: Halves, mask: Tensor) -> Steps:
        """The suffix, node by node; its inputs come from the whole network's prefix."""
        kept = halves.kept(mask)
        values = narrowed(halves.prefix(self._input()), halves.indices(kept), halves.written)
        return _steps(halves.suffix, halves.exchanged(kept), *values)

    def _input(self) -> Tensor:
        return self.images.clone()

    def _cut(self, cuts: Cuts) -> fx.GraphModule:
        """The smaller network that ``cuts`` leave."""
        tensors = cut_tensors(self.traced.graph, self.tensors, {}, cuts)
        if self.scratch is not None:
            small = refill(self.scratch, self.traced.graph, cuts, tensors)
        else:
            small = build(self.traced, cuts, tensors)
            self.scratch = small if refillable(small) else None
        small = channels_last(small).eval()
        assert isinstance(small, fx.GraphModule)
        return small

    def _compare(
        self, plain: fx.GraphModule, ways: Sequence[Callable[[], Any]], steps: Callable[[], Steps], layer: str
    ) -> None:
        """Compare ``plain`` with the outputs of ``ways``; ``steps`` computes the engine's values node by node."""
        expected = is_tensor(plain(self._input()))
        for way in ways:
            try:
                differs = self._difference(expected, way())
            except Exception as error:  # the engine may raise anything; the plain network ran
                differs = f"fails: {first_line(error)}"
            if differs is None:
                continue
            name, how = self._first_difference(plain, steps)
            cut = f", with {layer} cut" if layer else ""
            raise InputError(
                f"the engine does not compute this network{cut}: node {name or 'output'} {how or differs}; leave it "
                f"whole (model: {{..., whole: [{name or 'NODE'}]}}), or use the plain network "
                "(evaluators: {engine: naive})"
            )

    def _first_difference(self, plain: fx.GraphModule, steps: Callable[[], Steps]) -> tuple[str, str]:
        """The first node at which the engine's values differ from the network's, and how."""
        recorded = _Recorder(plain)
        recorded.run(self._input())
        name = ""
        try:
            for name, value in steps():
                expected = recorded.values.get(name)
                how = self._difference(expected, value) if isinstance(expected, Tensor) else None
                if how is not None:
                    return name, how
        except Exception as error:
            return name, f"or the one after it fails: {first_line(error)}"
        return "", ""

    def _difference(self, expected: Tensor, value: Any) -> str | None:
        actual = is_tensor(value)
        if expected.shape != actual.shape:
            return f"returns shape {tuple(actual.shape)} instead of {tuple(expected.shape)}"
        if expected.numel() == 0 or not expected.is_floating_point():
            return None if torch.equal(expected, actual) else "returns other values"
        close = torch.isclose(actual, expected, rtol=0.0, atol=self.tolerance * _scale(expected), equal_nan=True)
        if bool(close.all()):
            return None
        worst = (actual - expected).abs().nan_to_num(torch.inf).max()
        return f"returns values that differ by up to {float(worst):.2g}, where the largest is {_scale(expected):.2g}"


def random_cut(num_filters: int, generator: torch.Generator) -> Tensor:
    """(num_filters,) bool: a keep mask with about half of the filters, at least one kept and one pruned."""
    mask = torch.rand(num_filters, generator=generator) < 0.5
    kept, pruned = torch.randperm(num_filters, generator=generator)[:2].tolist()
    mask[kept], mask[pruned] = True, False
    return mask


class _Recorder(fx.Interpreter):
    """Records every node's value."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n.name] = value.clone() if isinstance(value, Tensor) else value
        return value


def _steps(program: Program, others: Mapping[str, Any], *inputs: Any) -> Steps:
    """What a program computes, node by node, with ``others`` in place of its own parts."""
    parts, values, given = {**program.parts, **others}, dict[fx.Node, Any](), iter(inputs)
    for node in program.graph.nodes:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        if node.op == "output":
            return
        values[node] = _step(node, parts, given, args, kwargs)
        yield program.names[node.name], values[node]


def _step(node: fx.Node, parts: Mapping[str, Any], given: Iterator[Any], args: Sequence[Any], kwargs: Any) -> Any:
    target: Any = node.target
    if node.op == "placeholder":
        return next(given)
    if node.op == "get_attr":
        return parts[target]
    if node.op == "call_module":
        return parts[target](*args, **kwargs)
    return getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have equal values, NaN equal to NaN."""
    return torch.equal(first.nan_to_num(), second.nan_to_num()) and torch.equal(first.isnan(), second.isnan())


def _scale(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return max(float(finite.abs().max()) if finite.numel() else 0.0, 1e-30)
