"""Every method: a ranking of all filters, every draw from its own generator, no more masks than it announces."""

from __future__ import annotations

import pickle

import pytest
import torch

from raprune.plugins.methods.base import Criterion, Method, RankedMethod, Ranking
from raprune.registry import DECISIONS, METHODS, Plugin
from raprune.trial.asked import most_asked

from .layers import NUM_FILTERS, Evaluator, view

QUICK: dict[str, dict[str, int]] = {
    "agent": {"min_updates": 3, "max_updates": 6},
    "ridge": {"max_updates": 5},
    "pbil": {"max_updates": 5},
}
"""Method -> settings that make it quick."""
LIMITS = [None, 0, 1, 7, 40]
"""Candidates that a layer may ask for."""

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in METHODS])
rankers = pytest.mark.parametrize(
    "plugin", [pytest.param(plugin, id=plugin.name) for plugin in METHODS if plugin.declared["ranks"]]
)


def build(plugin: Plugin) -> Method:
    method: Method = METHODS.build(plugin.name, QUICK.get(plugin.name, {}))
    return method


def rank(plugin: Plugin, evaluate: Evaluator, seed: int = 0) -> Ranking:
    return build(plugin).rank(view(len(evaluate.prices)), evaluate, torch.Generator().manual_seed(seed))


@every
@pytest.mark.parametrize("price", [0.0, 0.4, 5.0, 100.0])
def test_a_ranking_has_each_filter_once(plugin: Plugin, price: float) -> None:
    ranking = rank(plugin, Evaluator(torch.full((NUM_FILTERS,), price)))
    assert sorted(ranking.order) == (list(range(NUM_FILTERS)) if build(plugin).prunes else [])
    if ranking.likely is not None:
        assert ranking.likely.dtype == torch.bool
        assert ranking.likely.shape == (NUM_FILTERS,)
        assert ranking.likely.any()


@every
@pytest.mark.parametrize("price", [0.0, 0.4, 5.0])
def test_a_mask_within_the_bound(plugin: Plugin, price: float) -> None:
    """With the decision stage that the method usually has."""
    evaluate = Evaluator(torch.full((NUM_FILTERS,), price))
    ranking, method = rank(plugin, evaluate), build(plugin)
    mask = torch.ones(NUM_FILTERS, dtype=torch.bool)
    if ranking.order:
        mask = DECISIONS.build(method.decision, {}).decide(ranking, evaluate)
    assert mask.dtype == torch.bool
    assert mask.shape == (NUM_FILTERS,)
    assert mask.any()
    assert evaluate.evaluation(mask).feasible
    assert not mask.all() or price > 2.0 or not method.prunes


@every
def test_a_single_filter_is_ranked(plugin: Plugin) -> None:
    assert list(rank(plugin, Evaluator(torch.zeros(1))).order) == [0] * build(plugin).prunes


@every
def test_every_draw_comes_from_its_generator(plugin: Plugin) -> None:
    evaluators = [Evaluator(torch.linspace(0, 1, NUM_FILTERS)) for _ in range(2)]
    found = []
    for number, evaluate in enumerate(evaluators):
        torch.manual_seed(number)
        found.append(rank(plugin, evaluate).order)
    assert found[0] == found[1]
    assert all(torch.equal(a, b) for a, b in zip(evaluators[0].masks, evaluators[1].masks, strict=True))


@every
@pytest.mark.parametrize("most", LIMITS)
def test_it_asks_for_no_more_than_it_announces_and_may(plugin: Plugin, most: int | None) -> None:
    evaluate = Evaluator(torch.linspace(0, 1, NUM_FILTERS), most)
    rank(plugin, evaluate)
    asked = build(plugin).asked(NUM_FILTERS, most)
    assert asked.masks_per_update * asked.updates[0] <= len(evaluate.masks) <= most_asked(asked)
    assert max(evaluate.sizes, default=0) <= asked.masks_per_update
    assert asked.updates[0] <= asked.updates[1]
    assert asked.searched == (0, 0)  # the decision stage searches
    assert most is None or most_asked(asked) <= most


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_that_holds_with_the_defaults_of_those_that_were_made_quick(name: str) -> None:
    method, evaluate = METHODS.build(name, {}), Evaluator(torch.linspace(0, 1, NUM_FILTERS))
    ranking = method.rank(view(), evaluate, torch.Generator().manual_seed(0))
    assert sorted(ranking.order) == list(range(NUM_FILTERS))
    asked = method.asked(NUM_FILTERS, None)
    assert asked.masks_per_update * asked.updates[0] <= len(evaluate.masks) <= most_asked(asked)


@every
def test_it_declares_what_it_can(plugin: Plugin) -> None:
    method = build(plugin)
    assert plugin.declared["ranks"] == method.ranks == isinstance(method, RankedMethod)
    assert plugin.declared["criterion"] == method.criterion == isinstance(method, Criterion)
    assert plugin.declared["decision"] in DECISIONS.names()


@rankers
def test_a_ranking_without_scores_is_a_permutation(plugin: Plugin) -> None:
    method = METHODS.build(plugin.name, {})
    rankings = [method.order(view(), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert sorted(rankings[0]) == list(range(NUM_FILTERS))
    assert rankings[0] == rankings[1]


@rankers
def test_a_criterion_can_be_sent_to_an_evaluator(plugin: Plugin) -> None:
    method = METHODS.build(plugin.name, {})
    sent = pickle.loads(pickle.dumps(method))
    found = [m.order(view(), torch.Generator().manual_seed(3)) for m in (method, sent)]
    assert found[0] == found[1]
