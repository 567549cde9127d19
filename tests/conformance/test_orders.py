"""Every layer order: a permutation of the layers that depends on nothing but the layers and their scores."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import Order
from raprune.registry import ORDERS, Plugin

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in ORDERS])
SENSITIVITY = {"a": 8.0, "b": 1.0, "c": 5.0, "d": 3.0}
"""Points lost for each filter pruned."""


def views(layers: Sequence[str] = tuple(SENSITIVITY)) -> list[LayerView]:
    generator = torch.Generator().manual_seed(0)
    return [LayerView(layer, torch.randn(6 + 2 * i, 9, generator=generator)) for i, layer in enumerate(layers)]


class Scores:
    """The baseline's score with one layer pruned, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Tensor]] = []

    def __call__(self, layer: str, mask: Tensor) -> float:
        self.asked.append((layer, mask.clone()))
        return 90.0 - SENSITIVITY[layer] * float((~mask).float().mean())


def arrange(plugin: Plugin, layers: Sequence[LayerView], scores: Scores | None = None) -> list[str]:
    order: Order = ORDERS.build(plugin.name, {})
    return order.arrange(layers, scores or Scores())


@every
def test_a_permutation_of_the_layers(plugin: Plugin) -> None:
    assert sorted(arrange(plugin, views())) == sorted(SENSITIVITY)
    assert arrange(plugin, views(["c"])) == ["c"]


@every
def test_the_same_again(plugin: Plugin) -> None:
    torch.manual_seed(1)
    first = arrange(plugin, views())
    torch.manual_seed(2)
    assert arrange(plugin, views()) == first


@every
def test_layers_are_left_as_they_are(plugin: Plugin) -> None:
    layers = views()
    before = [view.weights_NM.clone() for view in layers]
    arrange(plugin, layers)
    assert all(torch.equal(view.weights_NM, weights) for view, weights in zip(layers, before, strict=True))


@every
def test_masks_that_it_scores_fit_their_layer(plugin: Plugin) -> None:
    scores, sizes = Scores(), {view.layer: view.num_filters for view in views()}
    arrange(plugin, views(), scores)
    for layer, mask in scores.asked:
        assert mask.dtype == torch.bool
        assert mask.shape == (sizes[layer],)
        assert mask.any()


def test_low_to_high_is_the_order_of_the_network() -> None:
    assert arrange(ORDERS.get("low_to_high"), views()) == ["a", "b", "c", "d"]


def test_by_sensitivity_decides_the_least_sensitive_first() -> None:
    assert arrange(ORDERS.get("by_sensitivity"), views()) == ["b", "d", "c", "a"]


def test_by_sensitivity_prunes_the_smallest_filters_at_each_ratio() -> None:
    norms = torch.tensor([4.0, 1.0, 3.0, 2.0])
    scores = Scores()
    order: Order = ORDERS.build("by_sensitivity", {"pruning_ratios": [0.25, 0.75]})
    order.arrange([LayerView("a", norms[:, None] * torch.ones(4, 9))], scores)
    assert [mask.tolist() for _, mask in scores.asked] == [[True, False, True, True], [True, False, False, False]]


def test_layers_of_equal_sensitivity_stay_in_the_order_of_the_network() -> None:
    """Their mean is the same number, whichever of its parts comes first."""
    of = {"a": [10.1, 10.2, 10.3], "b": [10.3, 10.2, 10.1], "c": [10.2, 10.3, 10.1]}
    assert len({sum(parts) for parts in of.values()}) > 1
    order: Order = ORDERS.build("by_sensitivity", {})
    for names in (["a", "b", "c"], ["c", "b", "a"]):
        asked = {layer: list(scores) for layer, scores in of.items()}
        views = [LayerView(name, torch.rand(8, 9)) for name in names]
        assert order.arrange(views, lambda layer, mask, asked=asked: asked[layer].pop(0)) == names
