"""Tracing: what hangs together, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.graph import Cut, trace


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def test_norm_pool_and_flatten_are_followed() -> None:
    network = chain(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    group = trace(network, (1, 8, 8)).group("0")
    assert group.num_filters == 4
    assert group.consumers == ("5",)
    tensors = {cut.tensor for cut in group.cuts}
    assert tensors == {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "5.weight"}
    assert Cut("5.weight", 1, 9) in group.cuts


def test_the_output_layer_is_not_prunable() -> None:
    graph = trace(chain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), (3, 8, 8))
    assert list(graph.groups) == ["0"]


def test_unknown_layer_names_the_nearest() -> None:
    graph = trace(chain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), (3, 8, 8))
    with pytest.raises(InputError, match="no prunable layer is called 'O'"):
        graph.group("O")


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) + x)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


def test_what_cannot_be_followed_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"first: its channels cannot be followed through add"):
        trace(Residual(), (3, 8, 8))
    with pytest.raises(InputError, match="cannot be traced"):
        trace(Branching(), (3, 8, 8))
    with pytest.raises(InputError, match="grouped convolutions"):
        trace(chain(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 2, 1)), (4, 8, 8))


def test_tracing_changes_nothing() -> None:
    network = chain(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace(network, (1, 8, 8))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
