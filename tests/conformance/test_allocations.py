"""Every allocation: a share of the bound for each layer that depends on nothing but the layers and their drops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raprune.plugins.allocations.base import Allocation, Costed
from raprune.plugins.methods.base import LayerView
from raprune.registry import ALLOCATIONS, Plugin

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in ALLOCATIONS])
MACS = {"a": 100, "b": 400, "c": 300}
PRICE = {"a": 20.0, "b": 8.0, "c": -3.0}
"""Points lost by pruning all filters of a layer."""


def layers() -> list[Costed]:
    generator = torch.Generator().manual_seed(0)

    def costed(layer: str, macs: int, num_filters: int) -> Costed:
        view = LayerView(layer, torch.randn(num_filters, 9, generator=generator))
        return Costed(view, macs, lambda mask: int(macs * float((~mask).double().mean())))

    return [costed(layer, macs, 8 + 4 * place) for place, (layer, macs) in enumerate(MACS.items())]


class Drops:
    """The drop of the baseline with one layer pruned, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Tensor]] = []

    def __call__(self, layer: str, mask: Tensor) -> float:
        self.asked.append((layer, mask.clone()))
        return PRICE[layer] * float((~mask).double().mean())


def shares(name: str, drops: Drops | None = None, **settings: object) -> list[float]:
    allocation: Allocation = ALLOCATIONS.build(name, settings)
    return allocation.shares(layers(), drops or Drops())


@every
def test_one_share_of_zero_or_more_for_each_layer(plugin: Plugin) -> None:
    found = shares(plugin.name)
    assert len(found) == len(MACS)
    assert all(math.isfinite(share) and share >= 0 for share in found)
    assert sum(found) > 0


@every
def test_the_same_again(plugin: Plugin) -> None:
    torch.manual_seed(1)
    first = shares(plugin.name)
    torch.manual_seed(2)
    assert shares(plugin.name) == first


@every
def test_masks_that_it_scores_fit_their_layer(plugin: Plugin) -> None:
    drops, sizes = Drops(), {layer.view.layer: layer.view.num_filters for layer in layers()}
    shares(plugin.name, drops)
    for layer, mask in drops.asked:
        assert mask.dtype == torch.bool
        assert mask.shape == (sizes[layer],)
        assert mask.any()


def test_shared_gives_all_to_the_first_and_equal_the_same_to_each() -> None:
    assert shares("shared") == [1, 0, 0]
    assert shares("equal") == [1, 1, 1]


def test_by_macs_is_in_proportion_to_multiply_adds() -> None:
    assert shares("by_macs") == [100, 400, 300]


def test_by_gain_is_in_proportion_to_what_a_point_buys() -> None:
    """Half of a's filters: 50 multiply-adds for 10 points; of b's 200 for 4; c gains points, which count as one."""
    drops = Drops()
    found = shares("by_gain", drops, pruning_ratios=[0.5], least_drop=1.0)
    assert [share - 1 for share in found] == pytest.approx([50 / 10, 200 / 4, 150 / 1])
    assert [layer for layer, _ in drops.asked] == ["a", "b", "c"]
