"""Roles follow the sums of a network, whatever its modules are called."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import Tensor, nn

from raprune.network.graph import trace
from raprune.plugins.models.cifar_resnet import CifarResNet
from tests.graph.small import chain


def roles(network: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> dict[str, str]:
    return {layer: group.role for layer, group in trace(network.eval(), shape).graph.groups.items()}


def by_name(layer: str) -> str:
    """How torchvision's residual networks are called."""
    *block, last = layer.split(".")
    if "downsample" in layer:
        return "shortcut"
    return last if block and re.fullmatch(r"conv\d", last) else "conv"


@pytest.mark.parametrize("name", ["resnet18", "resnet50", pytest.param("wide_resnet50_2", marks=pytest.mark.slow)])
def test_torchvision(name: str) -> None:
    found = roles(getattr(torchvision.models, name)(num_classes=10))
    assert found == {layer: by_name(layer) for layer in found}
    assert {*found.values()} >= {"conv", "conv1", "conv2", "shortcut"}


class Foreign(nn.Module):
    """A block with names that say nothing, in a pre-activated or plain form, with or without a gate."""

    def __init__(self, width: int, stride: int, gated: bool = False, pre: bool = False) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(4, width, 3, stride, 1)  # the body: a name that lies
        self.b = nn.Conv2d(width, width, 3, 1, 1)
        self.conv2 = nn.Conv2d(4, width, 1, stride) if stride > 1 or width != 4 else nn.Identity()
        self.norm = nn.BatchNorm2d(4)
        self.gate = nn.ModuleList([nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)]) if gated else None
        self.pre = pre

    def forward(self, x: Tensor) -> Tensor:
        if self.pre:
            x = torch.relu(self.norm(x))
        y = self.b(torch.relu(self.shortcut(x)))
        if self.gate is not None:
            y = y * torch.sigmoid(self.gate[1](torch.relu(self.gate[0](y.mean((2, 3), keepdim=True)))))
        return torch.relu(y + self.conv2(x))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("pre", [False, True])
def test_names_say_nothing(gated: bool, pre: bool) -> None:
    network = chain(
        nn.Conv2d(3, 4, 3), Foreign(4, 1, gated, pre), Foreign(6, 2, gated, pre), nn.Flatten(), nn.LazyLinear(3)
    )
    network(torch.zeros(2, 3, 12, 12))
    found = roles(network, (3, 12, 12))
    expected = {"0": "conv", "1.shortcut": "conv1", "2.shortcut": "conv1"}
    expected |= {"2.b": "conv2", "1.b": "conv2"} | {"2.conv2": "shortcut"}
    assert {layer: role for layer, role in found.items() if ".gate" not in layer} == {
        layer: role for layer, role in expected.items() if layer in found
    }
    assert {role for layer, role in found.items() if ".gate" in layer} <= {"conv"}
    assert ("1.gate.0" in found) == gated


def test_shortcuts_without_parameters_and_branches_of_one_convolution() -> None:
    found = roles(CifarResNet(20, 1.0, 10, 3))
    assert {*found.values()} == {"conv", "conv1", "conv2"}

    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.three = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(x) + self.one(x)

    network = chain(nn.Conv2d(3, 3, 1), Parallel(), nn.Conv2d(3, 2, 1))
    assert roles(network, (3, 8, 8)) == {"0": "conv", "1.one": "shortcut", "1.three": "conv1"}


def test_a_network_with_one_long_skip_has_no_blocks() -> None:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(6)])

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body(x)

    assert {*roles(Denoiser(), (3, 8, 8)).values()} == {"conv"}
