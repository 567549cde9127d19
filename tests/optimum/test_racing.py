"""Races on a table of four filters, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks.optimum.racing import Racer, kept_along, race, racer, summary
from raprune.network.masks import keep_first
from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import Evaluate, LayerView, Method, Ranking
from raprune.plugins.methods.magnitude import Magnitude
from raprune.registry import Settings
from tests.optimum.test_tables import tiny


class Asks(DecisionStage):
    """Asks for masks one after the other, whatever they score."""

    def __init__(self, masks: Sequence[str]) -> None:
        self.masks = masks

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        for mask in self.masks:
            evaluate([torch.tensor([flag == "1" for flag in mask])])
        return torch.ones(4, dtype=torch.bool)

    def asked(self, num_filters: int) -> tuple[int, int]:
        return len(self.masks), len(self.masks)


class Spends(Method):
    """Learns nothing from half of its candidates, on masks that keep filter 0 alone; then ranks as they stand."""

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        assert evaluate.left is not None
        for _ in range(evaluate.left // 2):
            evaluate([keep_first([0, 1, 2, 3], 1)])
        return Ranking([0, 1, 2, 3])


def asking(*masks: str) -> Racer:
    return Racer("asking", Magnitude(Settings()), Asks(masks), 1)


def test_the_best_mask_so_far_counts() -> None:
    masks = ("0001", "1100", "1110", "1011", "0011")
    assert kept_along(asking(*masks), tiny(), 4.0, 0, limit=9) == [4, 4, 2]  # and ends, as no mask keeps fewer
    assert kept_along(asking(*masks), tiny(), 2.0, 0, limit=9) == [4, 4, 4, 3, 3, 2]
    assert kept_along(asking(*masks), tiny(), 2.0, 0, limit=2) == [4, 4, 4]


def test_regret_is_read_off_along_one_run_of_a_ranking() -> None:
    found = next(race([asking("0001", "1110", "0011")], [tiny()], [1.0, 2.0], limits=[1, 2, 3, 9]))
    assert found["regret"].tolist() == [1, 0, 0, 0, 2, 1, 0, 0]
    assert found["fewest_kept"].tolist() == [3] * 4 + [2] * 4


def test_a_learner_runs_anew_for_every_limit() -> None:
    learner = Racer("spends", Spends(), Asks(["1110", "0011"]), 2)
    found = next(race([learner], [tiny()], [2.0], limits=[2, 4, 6]))
    assert found.loc[found["draw"] == 1, "regret"].tolist() == [1, 0, 0]
    assert len(found) == 6


def test_bounds_at_which_nothing_can_go_are_left_out() -> None:
    table = tiny()
    table.correct[:-1] = 0
    assert next(race([asking("1110")], [table], [1.0])).empty


def test_racers_are_named_as_in_a_study() -> None:
    assert racer("magnitude", 3).decision is not None
    one = racer('random{}+search{"proposals": 4}', 3)
    assert (one.draws, one.decision.at_once) == (3, 4)
    assert racer("magnitude+prefix", 3).draws == 1
    for text in ("magnitude+", "magnitude+search{proposals}"):
        with pytest.raises(SystemExit):
            racer(text, 1)


def test_the_ranking_comes_from_the_table() -> None:
    assert kept_along(racer("magnitude+prefix", 1), tiny(), 4.0, 0, 9) == [4, 2]


def test_the_summary_gives_means_over_cases() -> None:
    rows = [
        ("a", case, 0, limit, regret)
        for case, limit, regret in (("x", 10, 2), ("y", 10, 0), ("x", 20, 0), ("y", 20, 0))
    ]
    columns = ["racer", "table", "draw", "num_candidates", "regret"]
    text = summary(pd.DataFrame(rows, columns=columns).assign(drop_bound=1.0)).splitlines()
    assert text[0].split() == ["10", "20"]
    assert text[1].split() == ["a", "1.00", "+-", "1.00", "0.00", "+-", "0.00"]
