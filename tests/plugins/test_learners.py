"""The learners: planted dead filters that they must find, what they start from, and what they ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import CandidatesSpent, Evaluation, LayerView, Method, Ranking
from raprune.plugins.methods.learning import draw_unseen, most_important_first, ranks
from raprune.plugins.methods.pbil import elite_mean, moved
from raprune.plugins.methods.ridge import LinearDamage, RidgeSettings
from raprune.registry import METHODS

LEARNERS = ("agent", "pbil", "ridge")
BOUND = 2.0
every = pytest.mark.parametrize("name", LEARNERS)


def build(name: str, **settings: object) -> Method:
    method: Method = METHODS.build(name, settings)
    return method


def view(num_filters: int) -> LayerView:
    return LayerView("features.0", torch.randn(num_filters, 27, generator=torch.Generator().manual_seed(0)))


class Scored:
    """Pruning filter i costs ``prices[i]`` points; drops of twice the bound or more are not known exactly."""

    def __init__(self, prices: Tensor, most: int | None = None) -> None:
        self.prices = prices
        self.most = most
        self.seen: list[tuple[Tensor, Evaluation]] = []
        self.updates: list[int] = []

    @property
    def left(self) -> int | None:
        return None if self.most is None else self.most - len(self.seen)

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        if self.left is not None and len(masks) > self.left:
            raise CandidatesSpent
        assert policy_entropy is not None
        assert 0 <= policy_entropy <= math.log(2) + 1e-6
        assert all(mask.dtype == torch.bool and mask.any() for mask in masks)
        found = [self.evaluation(mask) for mask in masks]
        self.seen += [(mask.clone(), e) for mask, e in zip(masks, found, strict=True)]
        self.updates.append(len(masks))
        return found

    def evaluation(self, mask: Tensor) -> Evaluation:
        drop = float(self.prices[~mask].sum())
        reward = max(-1.0, 1 - drop / BOUND) * math.log(len(mask) / int(mask.sum()))
        known = drop < 2 * BOUND
        return Evaluation(reward, 90 - drop if known else None, drop if known else None, drop <= BOUND)


def planted(num_filters: int = 24, live: float = 0.5, seed: int = 1) -> Tensor:
    """Prices: a random half of the filters is dead and costs nothing, the others ``live`` points each."""
    prices = torch.full((num_filters,), live)
    prices[torch.randperm(num_filters, generator=torch.Generator().manual_seed(seed))[: num_filters // 2]] = 0.0
    return prices


def rank(name: str, scored: Scored, seed: int = 0, **settings: object) -> Ranking:
    return build(name, **settings).rank(view(len(scored.prices)), scored, torch.Generator().manual_seed(seed))


FREE = {"agent": {"magnitude_prior": 0.0, "max_updates": 100, "min_updates": 100}, "pbil": {}, "ridge": {}}
"""Without a hint from the weights."""


@every
@pytest.mark.parametrize("seed", range(3))
def test_planted_dead_filters_rank_last(name: str, seed: int) -> None:
    scored = Scored(planted(seed=seed + 1))
    ranking = rank(name, scored, seed, **FREE[name])
    last = torch.tensor(ranking.order[-12:])
    assert int((scored.prices[last] == 0).sum()) >= 11
    assert sorted(ranking.order) == list(range(24))
    assert ranking.likely is not None
    assert ranking.likely.any()


@every
def test_the_same_seed_draws_the_same_whatever_the_global_generator(name: str) -> None:
    found = []
    for number in range(2):
        torch.manual_seed(number)
        scored = Scored(planted(), 60)
        found.append((rank(name, scored).order, [mask.tolist() for mask, _ in scored.seen]))
    assert found[0] == found[1]
    other = Scored(planted(), 60)
    rank(name, other, seed=1)
    assert [mask.tolist() for mask, _ in other.seen] != found[0][1]


@every
@pytest.mark.parametrize("most", [0, 1, 9, 10, 11, 60, 119, None])
def test_it_asks_for_what_it_announces(name: str, most: int | None) -> None:
    settings = {"max_updates": 7, "masks_per_update": 5}
    scored = Scored(planted(), most)
    rank(name, scored, **settings)
    asked = build(name, **settings).asked(24, most)
    assert asked.masks_per_update == 5
    assert scored.updates == [5] * len(scored.updates)
    assert asked.updates[0] <= len(scored.updates) <= asked.updates[1]
    assert len(scored.seen) <= (35 if most is None else most / 2)
    assert bool(scored.seen) == (most is None or most >= 10)


@every
@pytest.mark.parametrize("prior", [None, "magnitude"])
def test_without_candidates_it_ranks_by_its_prior(name: str, prior: str | None) -> None:
    norms = view(24).weights_NM.double().abs().sum(1)
    expected = [int(i) for i in norms.argsort(descending=True, stable=True)]
    assert list(rank(name, Scored(planted(), 3), prior=prior).order) == expected


@every
def test_a_single_filter_is_not_scored(name: str) -> None:
    scored = Scored(torch.zeros(1))
    assert list(rank(name, scored).order) == [0]
    assert not scored.seen
    assert build(name).asked(1, None).updates == (0, 0)


@every
def test_the_prior_is_a_criterion(name: str) -> None:
    with pytest.raises(ValidationError, match=r"must be one of .*magnitude"):
        build(name, prior="random")
    with pytest.raises(ValidationError, match=r"must be one of .*magnitude"):
        build(name, prior="agent")


@pytest.mark.parametrize(("name", "settings"), [("pbil", {"prior_slope": 6.0}), ("ridge", {}), ("agent", {})])
def test_a_good_prior_draws_better_masks(name: str, settings: dict[str, object]) -> None:
    """The first update prunes mostly what the criterion ranks low."""
    norms = view(64).weights_NM.abs().sum(1)
    low = norms < norms.median()
    scored = Scored(torch.zeros(64), 20)
    rank(name, scored, prior="magnitude", masks_per_update=10, **settings)
    pruned = ~torch.stack([mask for mask, _ in scored.seen])
    assert int(pruned[:, low].sum()) > 1.5 * int(pruned[:, ~low].sum())


@every
def test_where_all_masks_are_worth_the_same_nothing_fails(name: str) -> None:
    for price in (0.0, 100.0):
        ranking = rank(name, Scored(torch.full((6,), price)), max_updates=4)
        assert sorted(ranking.order) == list(range(6))


@pytest.mark.parametrize("name", ["pbil", "ridge"])
def test_a_wide_layer_is_ranked(name: str) -> None:
    scored = Scored(planted(4096, 0.002), 60)
    assert len(rank(name, scored, masks_per_update=5).order) == 4096
    assert len(scored.seen) == 30


@pytest.mark.parametrize("name", ["pbil", "ridge"])
def test_no_mask_is_scored_twice_while_there_are_others(name: str) -> None:
    scored = Scored(planted(12), 60)
    rank(name, scored)
    assert len({bytes(mask.numpy()) for mask, _ in scored.seen}) == len(scored.seen)


def test_drawing_gives_up_where_there_is_no_other_mask() -> None:
    scored = Scored(torch.zeros(2))
    masks = draw_unseen(lambda: torch.tensor([True, False]), 3, scored)
    assert [mask.tolist() for mask in masks] == [[True, False]] * 3


def test_elite_by_hand() -> None:
    masks = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)
    mean = elite_mean(masks, torch.tensor([0.3, 0.9, 0.1, 0.5]), 0.5)
    first, second = math.log(2.5), math.log(2.5) - math.log(2)  # the second mask, then the fourth
    torch.testing.assert_close(mean, torch.tensor([0.0, first, second], dtype=torch.float64) / (first + second))
    probs = moved(torch.tensor([0.8, 0.8, 0.8], dtype=torch.float64), mean, 1.0)
    torch.testing.assert_close(probs, mean.clamp(0.2, 0.8))


def test_ridge_is_the_posterior_of_the_linear_model() -> None:
    """The mean in its dual form is that of the normal equations; samples scatter around it as they should."""
    settings = RidgeSettings(noise=0.3)
    rng = torch.Generator().manual_seed(0)
    pruned = (torch.rand(30, 6, generator=rng) < 0.4).double()
    drops = pruned @ torch.tensor([0.0, 1.0, 2.0, 0.0, 3.0, 0.5]).double() + 0.1
    model = LinearDamage(ranks(torch.arange(6.0)), settings)
    model.fit(pruned, drops)
    terms, precision = model.terms_SP, model.variance_P.reciprocal().diag() * settings.noise
    inverse = torch.linalg.inv(terms.T @ terms + precision)
    weights = model.expected_P + inverse @ terms.T @ model.rest_S
    from_terms = torch.cat([torch.zeros(6, 2), ranks(torch.arange(6.0))[:, None], torch.eye(6)], 1).double()
    torch.testing.assert_close(model.mean, from_terms @ weights)
    samples = torch.stack([model.sample(rng) for _ in range(4000)])
    covariance = settings.noise * from_terms @ inverse @ from_terms.T
    torch.testing.assert_close(samples.mean(0), model.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(samples.T.cov(), covariance, atol=0.02, rtol=0.1)


def test_order_among_equals() -> None:
    values = torch.tensor([1.0, 3.0, 1.0, 3.0])
    assert most_important_first(values) == [1, 3, 0, 2]
    assert most_important_first(values, torch.tensor([0.0, 1.0, 2.0, 3.0])) == [3, 1, 2, 0]
    assert ranks(values).tolist() == pytest.approx([-0.5, 1 / 6, -1 / 6, 0.5])
    assert keep_first(most_important_first(values), 2).tolist() == [False, True, False, True]
