"""Tracing: which layers belong together, what is refused by name, what is left whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.network.graph import Graph, trace
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.small import chain, net


def sizes(graph: Graph) -> dict[str, int]:
    return {layer: group.num_filters for layer, group in graph.groups.items()}


def test_norm_pool_and_flatten_are_followed() -> None:
    network = chain(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    graph = trace(network, (1, 8, 8)).graph
    group = graph.group("0")
    assert (group.num_filters, group.consumers, group.role) == (4, ("_5",), "conv")
    widths = {(axis.tensor, axis.dim): axis.ids.shape[1] for axis in graph.axes}
    norms = {(f"1.{name}", 0): 4 for name in ("weight", "bias", "running_mean", "running_var")}
    assert widths == {("0.weight", 0): 4, ("5.weight", 1): 36, **norms}


def test_the_output_layer_is_not_prunable() -> None:
    graph = trace(chain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), (3, 8, 8)).graph
    assert list(graph.groups) == ["0"]
    assert graph.prunable() == (1, 1)
    with pytest.raises(InputError, match="no prunable layer is called '2': its filters are the network's output"):
        graph.group("2")


def test_unknown_layer_names_the_nearest() -> None:
    graph = trace(chain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), (3, 8, 8)).graph
    with pytest.raises(InputError, match="no prunable layer is called 'O'"):
        graph.group("O")


JOINS: dict[str, tuple[Any, dict[str, int], dict[str, int]]] = {
    "sum": (lambda s, a, b: a + b, {"one": 4, "two": 4}, {"one": 4}),
    "product": (lambda s, a, b: a * torch.sigmoid(b), {"one": 4}, {"one": 4}),
    "cat": (lambda s, a, b: torch.cat([a, b], 1), {"one": 4, "two": 4}, {"one": 4, "two": 4}),
    "padded sum": (
        lambda s, a, b: F.pad(a, (0, 0, 0, 0, 2, 2)) + torch.cat([b, b], 1), {"one": 4, "two": 4}, {"one": 4},
    ),
    "pixel shuffle": (lambda s, a, b: F.pixel_shuffle(a, 2), {"one": 1}, {"one": 1}),
    "transposed": (lambda s, a, b: s.up(a + b), {"one": 4, "two": 4, "up": 6}, {"one": 4, "up": 6}),
    "hard-coded view": (lambda s, a, b: a.view(-1, 4, 64).view(-1, 4, 8, 8), {"one": 4}, {"one": 4}),
    "one channel first": (
        lambda s, a, b: torch.sigmoid(a.mean((2, 3), keepdim=True)) * a + torch.sigmoid(s.gate(b)) * b,
        {"one": 4, "two": 4}, {"one": 4},
    ),
    "factor of fewer dimensions": (lambda s, a, b: a * torch.ones(4, 1, 1) + b, {"one": 4, "two": 4}, {"one": 4}),
    "summand of fewer dimensions": (lambda s, a, b: (a + torch.ones(4, 1, 1)) * 2 + b, {"two": 4}, {}),
    "in place": (lambda s, a, b: a.relu_().add_(b).mul_(2).div(F.relu(b, True) + 1), {"one": 4}, {"one": 4}),
    "view of a shape": (lambda s, a, b: a.flatten(2).view(b.shape), {"one": 4, "two": 4}, {"one": 4, "two": 4}),
    "positions by ellipsis": (lambda s, a, b: a[..., ::2, ::2], {"one": 4}, {"one": 4}),
    "bare norm": (lambda s, a, b: F.relu(s.bare(a)), {"one": 4}, {"one": 4}),
    "unpool": (
        lambda s, a, b: F.max_unpool2d(F.max_pool2d(a, 2), F.max_pool2d(b, 2, return_indices=True)[1], 2),
        {"one": 4}, {"one": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("join", list(JOINS))
def test_joins(join: str, residual: str) -> None:
    between, independent, coupled = JOINS[join]
    parts = {"up": nn.ConvTranspose2d(4, 6, 2, 2), "gate": nn.Conv2d(4, 1, 1), "bare": nn.InstanceNorm2d(4)}
    network = net(between, **parts)
    traced = trace(network, (3, 8, 8), residual=residual)
    assert sizes(traced.graph) == (independent if residual == "independent" else coupled)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced.network(x), network(x))
    for seed in range(3):
        prove(traced, (3, 8, 8), seed)


def test_a_mask_of_a_sum_scatters_what_is_left() -> None:
    network = net(lambda s, a, b: a + b)
    traced = trace(network, (3, 8, 8))
    masks = {"one": torch.tensor([True, False, False, True]), "two": torch.tensor([True, True, False, False])}
    small = shrink(traced, masks)
    assert small.get_submodule("last").weight.shape[1] == 3  # channel 2 is gone from both
    assert [int(m.weight.shape[0]) for m in (small.get_submodule("one"), small.get_submodule("two"))] == [2, 2]


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x) * torch.tensor(0.5))


def test_a_constant_made_in_forward() -> None:
    traced = trace(Constant(), (3, 8, 8))
    assert list(traced.graph.groups) == ["one"]
    prove(traced, (3, 8, 8))


def test_a_module_that_runs_twice_has_one_mask() -> None:
    shared = nn.Conv2d(4, 4, 3, padding=1)
    traced = trace(chain(nn.Conv2d(3, 4, 3), shared, nn.ReLU(), shared, nn.Conv2d(4, 2, 1)), (3, 8, 8))
    assert {layer: len(group.members) for layer, group in traced.graph.groups.items()} == {"0": 2}
    prove(traced, (3, 8, 8))


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.dropout(self.one(x), 0.5, self.training))


def test_dropout_follows_the_mode_and_draws_at_full_width() -> None:
    traced = trace(Dropping(), (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(traced.network(x), traced.network(x))
    mask = random_cuts(traced.graph, torch.Generator().manual_seed(0))
    small = shrink(traced, mask)
    hidden = []
    for network in (traced.network, small):
        network.train()
        network.get_submodule("two").register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
        torch.manual_seed(1)
        network(x)
    torch.testing.assert_close(hidden[0][:, mask["one"]], hidden[1])
    assert float((hidden[0] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_tracing_leaves_the_weights_alone() -> None:
    network = chain(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    traced = trace(network, (1, 8, 8))
    assert not traced.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert list(traced.network.state_dict()) == list(before)


def test_roles() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.downsample = chain(nn.Conv2d(3, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv2(self.conv1(x)) + self.downsample(x)

    graph = trace(chain(nn.Conv2d(3, 3, 1), Block(), nn.Conv2d(3, 2, 1)), (3, 8, 8)).graph
    assert {layer: group.role for layer, group in graph.groups.items()} == {
        "0": "conv", "1.conv1": "conv1", "1.conv2": "conv2", "1.downsample.0": "shortcut",
    }  # fmt: skip
