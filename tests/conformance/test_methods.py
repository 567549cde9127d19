"""Every method: a keep mask within the bound, every draw from its own generator, the cost that it announces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from raprune.plugins.methods.base import Decision, Evaluation, LayerView, Method, RankedMethod
from raprune.registry import METHODS, Plugin

NUM_FILTERS, BOUND = 12, 2.0
QUICK: dict[str, dict[str, int]] = {"agent": {"min_updates": 3, "max_updates": 6}}
"""Method -> settings that make it quick."""

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in METHODS])
rankers = pytest.mark.parametrize(
    "plugin", [pytest.param(plugin, id=plugin.name) for plugin in METHODS if plugin.declared["ranks"]]
)


def view(num_filters: int = NUM_FILTERS) -> LayerView:
    return LayerView("features.0", torch.randn(num_filters, 27, generator=torch.Generator().manual_seed(0)))


class Evaluator:
    """Pruning filter i costs ``prices[i]`` points; a mask is feasible within the bound."""

    def __init__(self, prices: Tensor) -> None:
        self.prices = prices
        self.masks: list[Tensor] = []

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        for mask in masks:
            assert mask.dtype == torch.bool
            assert mask.shape == self.prices.shape
            assert mask.any()
        self.masks += [mask.clone() for mask in masks]
        return [self.evaluation(mask) for mask in masks]

    def evaluation(self, mask: Tensor) -> Evaluation:
        drop = float(self.prices[~mask].sum())
        reward = max(-1.0, 1 - drop / BOUND) * float(torch.log(len(mask) / mask.sum()))
        return Evaluation(reward, 90.0 - drop, drop, drop <= BOUND)


def build(plugin: Plugin) -> Method:
    method: Method = METHODS.build(plugin.name, QUICK.get(plugin.name, {}))
    return method


def decide(plugin: Plugin, evaluate: Evaluator, seed: int = 0) -> Decision:
    return build(plugin).decide(view(len(evaluate.prices)), evaluate, torch.Generator().manual_seed(seed))


@every
@pytest.mark.parametrize("price", [0.0, 0.4, 5.0])
def test_a_mask_within_the_bound(plugin: Plugin, price: float) -> None:
    evaluate = Evaluator(torch.full((NUM_FILTERS,), price))
    mask = decide(plugin, evaluate).keep_mask
    assert mask.dtype == torch.bool
    assert mask.shape == (NUM_FILTERS,)
    assert mask.any()
    assert evaluate.evaluation(mask).feasible


@every
def test_where_nothing_is_feasible_the_layer_stays_whole(plugin: Plugin) -> None:
    assert decide(plugin, Evaluator(torch.full((NUM_FILTERS,), 100.0))).keep_mask.all()


@every
def test_a_single_filter_is_kept(plugin: Plugin) -> None:
    assert decide(plugin, Evaluator(torch.zeros(1))).keep_mask.tolist() == [True]


@every
def test_every_draw_comes_from_its_generator(plugin: Plugin) -> None:
    evaluators = [Evaluator(torch.linspace(0, 1, NUM_FILTERS)) for _ in range(2)]
    found = []
    for number, evaluate in enumerate(evaluators):
        torch.manual_seed(number)
        found.append(decide(plugin, evaluate).keep_mask)
    assert torch.equal(found[0], found[1])
    assert all(torch.equal(a, b) for a, b in zip(evaluators[0].masks, evaluators[1].masks, strict=True))


@every
def test_it_asks_for_no_more_than_it_announces(plugin: Plugin) -> None:
    evaluate = Evaluator(torch.linspace(0, 1, NUM_FILTERS))
    mask = decide(plugin, evaluate).keep_mask
    assert len(evaluate.masks) <= build(plugin).expected_candidates(NUM_FILTERS)
    assert evaluate.masks or mask.all()


@every
def test_it_declares_what_it_can(plugin: Plugin) -> None:
    method = build(plugin)
    assert plugin.declared["ranks"] == isinstance(method, RankedMethod) == hasattr(method, "rank")
    assert method.masks_per_update == method.asked(NUM_FILTERS).masks_per_update


@rankers
def test_a_ranking_is_a_permutation(plugin: Plugin) -> None:
    method = METHODS.build(plugin.name, {})
    rankings = [method.rank(view(), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert sorted(rankings[0]) == list(range(NUM_FILTERS))
    assert rankings[0] == rankings[1]
