"""Every decision stage on every kind of ranking: a mask within the bound, no more masks than allowed and announced."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.methods.base import CandidatesSpent, Ranking
from raprune.registry import DECISIONS, METHODS, Plugin

from .layers import NUM_FILTERS, Evaluator, view

KINDS = ["sorted", "reversed", "shuffled", "learned"]
"""How a ranking was found: by the true prices, by their opposite, by chance, or by a learner that scored masks."""
LIMITS = [None, 0, 5]
MANY = [("search", {"proposals": 4}), ("reward", {"prefixes": True})]
"""Decision stages with settings of their own."""

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in DECISIONS])
on_every_kind = pytest.mark.parametrize("kind", KINDS)


def ranked(kind: str, evaluate: Evaluator) -> Ranking:
    dearest = evaluate.prices.argsort(descending=True, stable=True).tolist()
    if kind == "sorted":
        return Ranking(dearest)
    if kind == "reversed":
        return Ranking(dearest[::-1])
    rng = torch.Generator().manual_seed(0)
    if kind == "shuffled":
        return Ranking(torch.randperm(len(dearest), generator=rng).tolist())
    agent = METHODS.build("agent", {"min_updates": 2, "max_updates": 2, "masks_per_update": 3})
    return agent.rank(view(len(dearest)), evaluate, rng)


def decide(stage: DecisionStage, kind: str, evaluate: Evaluator) -> Tensor:
    """As in a trial."""
    ranking = ranked(kind, evaluate)
    with contextlib.suppress(CandidatesSpent):
        return stage.decide(ranking, evaluate)
    return fewest_kept(evaluate, len(evaluate.prices))


def built(plugin: Plugin) -> DecisionStage:
    stage: DecisionStage = DECISIONS.build(plugin.name, {})
    return stage


@every
@on_every_kind
@pytest.mark.parametrize("most", LIMITS)
@pytest.mark.parametrize("dearest", [0.0, 1.0])
def test_a_mask_within_the_bound_and_the_limit(plugin: Plugin, kind: str, most: int | None, dearest: float) -> None:
    evaluate = Evaluator(torch.linspace(0, dearest, NUM_FILTERS), most)
    mask = decide(built(plugin), kind, evaluate)
    assert mask.dtype == torch.bool
    assert mask.shape == (NUM_FILTERS,)
    assert mask.any()
    assert evaluate.evaluation(mask).feasible
    assert most is None or len(evaluate.masks) <= most
    assert mask.all() or any(torch.equal(mask, scored) for scored in evaluate.masks)


@every
@on_every_kind
@pytest.mark.parametrize("most", LIMITS)
def test_where_nothing_fits_the_layer_stays_whole(plugin: Plugin, kind: str, most: int | None) -> None:
    assert decide(built(plugin), kind, Evaluator(torch.full((NUM_FILTERS,), 100.0), most)).all()


@every
@on_every_kind
def test_a_single_filter_is_kept(plugin: Plugin, kind: str) -> None:
    assert decide(built(plugin), kind, Evaluator(torch.zeros(1))).tolist() == [True]


@every
@on_every_kind
def test_it_prunes_what_is_free(plugin: Plugin, kind: str) -> None:
    assert not decide(built(plugin), kind, Evaluator(torch.zeros(NUM_FILTERS))).all()


@every
@on_every_kind
def test_it_is_deterministic(plugin: Plugin, kind: str) -> None:
    evaluators = [Evaluator(torch.linspace(0, 1, NUM_FILTERS)) for _ in range(2)]
    found = []
    for number, evaluate in enumerate(evaluators):
        torch.manual_seed(number)
        found.append(decide(built(plugin), kind, evaluate))
    assert torch.equal(found[0], found[1])
    assert all(torch.equal(a, b) for a, b in zip(evaluators[0].masks, evaluators[1].masks, strict=True))


@every
@on_every_kind
@pytest.mark.parametrize("num_filters", [1, 2, 3, NUM_FILTERS])
def test_it_announces_what_it_asks(plugin: Plugin, kind: str, num_filters: int) -> None:
    stage = built(plugin)
    evaluate = Evaluator(torch.linspace(0, 1, num_filters))
    ranking = ranked(kind, evaluate)
    learned = len(evaluate.masks)
    stage.decide(ranking, evaluate)
    fewest, most = stage.asked(num_filters)
    assert fewest <= len(evaluate.masks) - learned <= most


@pytest.mark.parametrize(("name", "settings"), [*((plugin.name, {}) for plugin in DECISIONS), *MANY])
def test_it_announces_how_many_it_asks_at_once(name: str, settings: dict[str, object]) -> None:
    """A batch that depends on no score before it may be larger."""
    evaluate, stage = Evaluator(torch.linspace(0, 1, NUM_FILTERS)), DECISIONS.build(name, settings)
    stage.decide(ranked("shuffled", evaluate), evaluate)
    assert max(evaluate.sizes) <= stage.at_once or len(evaluate.sizes) == 1


@every
def test_the_ranking_is_left_as_it_was(plugin: Plugin) -> None:
    evaluate = Evaluator(torch.linspace(0, 1, NUM_FILTERS))
    ranking = ranked("shuffled", evaluate)
    before = list(ranking.order)
    built(plugin).decide(ranking, evaluate)
    assert list(ranking.order) == before
