"""The model of what pruning costs: a Gaussian process, checked against the formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raprune.plugins.decisions.prices import Learned, Prices, Prior

NUM_FILTERS = 7
ORDER = (3, 0, 6, 1, 5, 2, 4)
PRIOR = Prior()


def covariance(a_N: Tensor, b_N: Tensor) -> float:
    """Of the drops of two masks; 1 = pruned."""
    place = {index: (NUM_FILTERS - at) / NUM_FILTERS for at, index in enumerate(ORDER)}
    scale = PRIOR.filters / NUM_FILTERS
    a, b = ({i for i in range(NUM_FILTERS) if mask[i]} for mask in (a_N, b_N))
    ranked = sum(place[i] for i in a) * sum(place[i] for i in b)
    alike = float(torch.tensor(-len(a ^ b) / PRIOR.alike, dtype=torch.float64).exp())
    return (
        1.0 + (PRIOR.ranked * scale) ** 2 * ranked + (PRIOR.single * scale) ** 2 * len(a & b)
        + PRIOR.deviation**2 * alike
    )  # fmt: skip


def expected(masks: list[Tensor], drops: list[float], asked: Tensor) -> tuple[float, float]:
    """Mean and variance of an observation, by solving the whole system."""
    pruned = [~mask for mask in masks]
    between = torch.tensor([[covariance(a, b) for b in pruned] for a in pruned], dtype=torch.float64)
    between += PRIOR.noise**2 * torch.eye(len(masks), dtype=torch.float64)
    to_asked = torch.tensor([covariance(a, ~asked) for a in pruned], dtype=torch.float64)
    solved = torch.linalg.solve(between, torch.stack([torch.tensor(drops, dtype=torch.float64), to_asked], 1))
    mean = float(to_asked @ solved[:, 0])
    return mean, covariance(~asked, ~asked) - float(to_asked @ solved[:, 1]) + PRIOR.noise**2


@pytest.fixture(scope="module")
def observed() -> tuple[list[Tensor], list[float], Learned]:
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(NUM_FILTERS, generator=generator) < 0.6 for _ in range(6)]
    drops = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    prices = Prices(ORDER, PRIOR)
    for mask, drop in zip(masks, drops, strict=True):
        prices.observe(mask, drop)
    return masks, drops, prices.learned()


def every_mask() -> Tensor:
    return torch.cartesian_prod(*[torch.tensor([False, True])] * NUM_FILTERS)


def test_chances_are_those_of_the_gaussian_process(observed: tuple[list[Tensor], list[float], Learned]) -> None:
    masks, drops, learned = observed
    asked = every_mask()
    truth = [expected(masks, drops, mask) for mask in asked]
    chances = [
        torch.special.ndtr(torch.tensor((1 - mean) / variance**0.5, dtype=torch.float64)) for mean, variance in truth
    ]
    torch.testing.assert_close(learned.fits((~asked).double()), torch.stack(chances), rtol=1e-9, atol=1e-12)


def test_a_price_is_what_the_mean_gains(observed: tuple[list[Tensor], list[float], Learned]) -> None:
    masks, drops, learned = observed
    for mask in every_mask()[::17]:
        for index, price in enumerate(learned.prices_at(mask).tolist()):
            with_it, without = mask.clone(), mask.clone()
            with_it[index], without[index] = True, False
            truth = expected(masks, drops, without)[0] - expected(masks, drops, with_it)[0]
            assert price == pytest.approx(truth, abs=1e-9)


def test_what_is_supposed_is_forgotten(observed: tuple[list[Tensor], list[float], Learned]) -> None:
    masks, drops, learned = observed
    prices = Prices(ORDER, PRIOR)
    for mask, drop in zip(masks, drops, strict=True):
        prices.observe(mask, drop)
    asked = (~every_mask()).double()
    with prices.supposing() as suppose:
        suppose(torch.zeros(NUM_FILTERS, dtype=torch.bool), 3.0)
        assert not torch.equal(prices.learned().fits(asked), learned.fits(asked))
    assert torch.equal(prices.learned().fits(asked), learned.fits(asked))


def test_filters_that_stand_in_for_each_other() -> None:
    """Either of two filters may go at no cost, both may not: no sum of prices says so, the deviation does."""
    prices = Prices(range(4), PRIOR)
    whole = torch.ones(4, dtype=torch.bool)
    for pruned, drop in [((), 0.0), ((0,), 0.0), ((1,), 0.0), ((0, 1), 2.0), ((2,), 0.0), ((0, 2), 0.0), ((1, 2), 0.0)]:
        mask = whole.clone()
        mask[list(pruned)] = False
        prices.observe(mask, drop)
    asked = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.float64)
    one, both = prices.learned().fits(asked).tolist()
    assert one > 0.6 > 0.4 > both
