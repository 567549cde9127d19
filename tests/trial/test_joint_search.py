"""The search of a joint pass, over made-up prices."""

from __future__ import annotations

from collections.abc import Sequence

from raprune.trial.joint_search import Counts, JointSearch


class Additive:
    """Each filter costs its layer's price; squared counts, so that the next one costs more."""

    def __init__(self, prices: Sequence[float], bound: float, most: int | None = None) -> None:
        self.prices, self.bound, self.most = prices, bound, most
        self.asked: list[Counts] = []

    @property
    def left(self) -> int | None:
        return None if self.most is None else self.most - len(self.asked)

    def drop(self, counts: Counts) -> float:
        return sum(price * number**2 for price, number in zip(self.prices, counts, strict=True))

    def __call__(self, some: Sequence[Counts]) -> list[tuple[float | None, bool]]:
        self.asked += some
        drops = [self.drop(counts) for counts in some]
        return [(None if drop > 3 * self.bound else drop, drop <= self.bound) for drop in drops]


def saving(counts: Counts) -> int:
    return sum(weight * number for weight, number in zip((10, 20, 5), counts, strict=True))


def test_the_search_spends_the_bound_where_it_saves_most() -> None:
    """The best by hand: the marginal price 2 * price * count / weight is the same in all layers."""
    prices, bound = (0.001, 0.001, 0.004), 2.0
    ask = Additive(prices, bound, 60)
    found = JointSearch([60, 60, 60], saving, ask, 4).run(0.0, bound)
    assert ask.drop(found) <= bound
    best = max(
        saving((a, b, c)) for a in range(61) for b in range(61) for c in range(61) if ask.drop((a, b, c)) <= bound
    )
    assert saving(found) >= 0.95 * best
    assert len(ask.asked) == len(set(ask.asked)) <= 60


def test_the_search_ends_where_nothing_fits_and_leaves_one_filter() -> None:
    ask = Additive((9.0, 9.0, 9.0), 2.0)
    assert JointSearch([8, 8, 0], saving, ask, 4).run(0.0, 2.0) == (0, 0, 0)
    free = Additive((0.0, 0.0, 0.0), 2.0, 80)
    assert JointSearch([7, 7, 0], saving, free, 4).run(0.0, 2.0) == (7, 7, 0)
    assert JointSearch([7, 7, 7], saving, Additive((0.0,) * 3, 2.0, 0), 4).run(0.0, 2.0) == (0, 0, 0)


def test_a_search_of_few_masks_prices_the_layers_that_save_most() -> None:
    ask = Additive((0.001, 0.001, 0.001), 2.0, 5)
    assert JointSearch([60, 60, 60], saving, ask, 4).run(0.0, 2.0) != (0, 0, 0)
    assert all(counts[2] == 0 for counts in ask.asked), "the layer that saves least was priced"
    assert ask.asked[:2] == [(7, 0, 0), (0, 7, 0)]
