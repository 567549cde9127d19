"""Parameters and multiply-adds, by hand and as published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raprune.network.measure import count_bytes, count_macs, count_params
from raprune.plugins.models.vgg16 import Vgg16

BY_HAND = [
    (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10), 8 * 10 * 10 * 3 * 9),
    (nn.Conv2d(3, 8, 3), (3, 10, 10), 8 * 8 * 8 * 3 * 9),  # unpadded
    (nn.Conv2d(4, 8, 3, stride=2, padding=1), (4, 9, 9), 8 * 5 * 5 * 4 * 9),
    (nn.Conv2d(4, 8, 3, padding=1, groups=2), (4, 10, 10), 8 * 10 * 10 * 2 * 9),  # grouped
    (nn.Conv2d(4, 4, 5, padding=2, groups=4), (4, 6, 6), 4 * 6 * 6 * 25),  # depthwise
    (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 5 * 5 * 6 * 4),
    (nn.Sequential(nn.Flatten(), nn.Linear(48, 7)), (3, 4, 4), 48 * 7),
]


@pytest.mark.parametrize(("network", "shape", "macs"), BY_HAND)
def test_macs_by_hand(network: nn.Module, shape: tuple[int, int, int], macs: int) -> None:
    assert count_macs(network, shape) == macs


def test_the_published_vgg16() -> None:
    network = Vgg16(1.0, num_classes=10, in_channels=3)
    assert count_params(network) == 14_990_922
    assert count_macs(network, (3, 32, 32)) == 313_463_808
    norms = sum(count_params(m) for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert count_params(network) - norms == 14_982_474
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 13


def test_bytes_of_a_state_dict() -> None:
    assert count_bytes(nn.BatchNorm1d(5)) == 4 * 5 * 4 + 8
    assert count_bytes(nn.Linear(2, 3).to(torch.float64)) == 9 * 8
