"""Is the smaller network the masked one? Both run node by node side by side, and the first that differs is named.

The definition: a channel is zero at every node wherever the keep masks take it away, after norms and activations.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.errors import InputError
from raprune.graph import Graph, Plan, Traced, present
from raprune.surgery import shrink

TOLERANCE = 1e-9
"""Largest difference between equal values in float64, of the largest value."""
LOOSE = 1e-4
"""The same where the network computes in less."""


def random_plan(graph: Graph, generator: torch.Generator, keep: float = 0.6) -> dict[str, Tensor]:
    """Random keep masks for every layer, each with at least one filter."""
    plan = {}
    for layer, group in graph.groups.items():
        mask = torch.rand(group.num_filters, generator=generator) < keep
        mask[torch.randint(group.num_filters, (1,), generator=generator)] = True
        plan[layer] = mask
    return plan


@torch.no_grad()
def prove(traced: Traced, input_shape: tuple[int, ...], seed: int = 0) -> None:
    """Compare masked and smaller network under random masks, with random norms so that constants show.

    In float64; in the network's own precision where its forward insists on that. Raises :class:`InputError` with the
    node at which they differ first.
    """
    try:
        _prove(traced, input_shape, seed, torch.float64, TOLERANCE)
    except RuntimeError:
        _prove(traced, input_shape, seed, next(traced.network.parameters()).dtype, LOOSE)


def _prove(traced: Traced, input_shape: tuple[int, ...], seed: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    network = copy.deepcopy(traced.network).to(dtype).eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            _enliven(module, generator)
    lively = Traced(network, traced.graph)
    plan = random_plan(traced.graph, generator)
    small = shrink(lively, plan)
    images = torch.randn(2, *input_shape, dtype=torch.float64, generator=generator)
    device = next(network.parameters()).device
    SideBySide(lively, small, plan, tolerance).run(images.to(device, dtype))


class SideBySide(fx.Interpreter):
    """Runs the masked network, and in step with it the smaller one."""

    def __init__(self, traced: Traced, small: nn.Module, plan: Plan, tolerance: float) -> None:
        super().__init__(traced.network)
        self.extra_traceback = False  # our error says what there is to say
        self.tolerance = tolerance
        assert isinstance(small, fx.GraphModule)
        self.graph_of = traced.graph
        self.kept = traced.graph.kept(plan)
        self.small = fx.Interpreter(small)
        self.twins = {node.name: node for node in small.graph.nodes}

    def run_node(self, n: fx.Node) -> Any:
        """The masked value of a node, after it is compared with the smaller network's."""
        ids = self.graph_of.values.get(n.name)
        keep = None if ids is None else torch.from_numpy(present(ids, self.kept))
        out = _each(super().run_node(n), lambda value: value if keep is None else _masked(value, keep))
        twin = self.twins[n.name]
        if n.op == "placeholder":
            other = out
        else:
            args, kwargs = self.small.fetch_args_kwargs_from_env(twin)
            try:
                other = getattr(self.small, n.op)(twin.target, args, kwargs)
            except (RuntimeError, ValueError, IndexError) as error:
                raise InputError(_differs(n, f"an error: {error}")) from error
        self.small.env[twin] = other
        for used in self.small.user_to_last_uses.get(twin, []):
            del self.small.env[used]
        self._compare(n, out, other, keep)
        return out

    def _compare(self, node: fx.Node, out: Any, other: Any, keep: Tensor | None) -> None:
        for value, small in zip(_tensors(out), _tensors(other), strict=True):
            expected = value if keep is None else value[:, keep.to(value.device)]
            if expected.shape != small.shape:
                raise InputError(_differs(node, f"shape {tuple(small.shape)} instead of {tuple(expected.shape)}"))
            if expected.is_floating_point() and expected.numel():
                worst = (expected - small).abs().max()
                if not worst <= self.tolerance * expected.abs().max().clamp(min=1e-30):
                    raise InputError(_differs(node, f"values that differ by up to {float(worst):.2g}"))


def _differs(node: fx.Node, how: str) -> str:
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.target)
    return (
        f"the smaller network is not the masked one: node {node.name} ({target}) gives {how}; to leave whole what it "
        f"reads: model: {{..., whole: [{node.name}]}}"
    )


def _enliven(norm: Any, generator: torch.Generator) -> None:
    """Random factors, shifts and statistics."""
    for tensor, low, high in (
        (norm.weight, 0.5, 1.5), (norm.bias, -0.5, 0.5), (norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 1.5),
    ):  # fmt: skip
        if tensor is not None:
            draws = torch.rand(tensor.shape, dtype=torch.float64, generator=generator)
            tensor.copy_(low + (high - low) * draws)


def _masked(value: Tensor, keep: Tensor) -> Tensor:
    """``value`` with zeros for channels that are not kept, whatever they were."""
    return torch.where(keep.to(value.device).view(1, -1, *[1] * (value.dim() - 2)), value, torch.zeros_like(value))


def _each(value: Any, change: Any) -> Any:
    return type(value)(map(change, value)) if isinstance(value, tuple) else _one(value, change)


def _one(value: Any, change: Any) -> Any:
    return change(value) if isinstance(value, Tensor) else value


def _tensors(value: Any) -> list[Tensor]:
    return [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Tensor)]
