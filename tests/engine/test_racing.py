"""Racing: which candidates are stopped, and that a race's result does not depend on floors asked for before."""

from __future__ import annotations

import pytest
import torch

from raprune.engine.racing import Race, image_scores
from tests.engine.test_fidelities import BASE, approximate, small, some_mask
from tests.tiny import Trained, engine_of


def test_racing_stops_the_hopeless_and_no_other(trained: Trained) -> None:
    full, layer = engine_of(trained.network, trained.splits), "features.24"
    engine, num_filters = approximate(full, racing=3.0), full.graph.group(layer).num_filters
    base = full.measure(BASE, "val")
    bound, lowest = base - 10.0, base - 20.0
    within = stopped = 0
    for seed in range(40):
        mask = some_mask(num_filters, seed / 40, seed)
        real, raced = full.evaluate(BASE, layer, mask, None).score, engine.evaluate(BASE, layer, mask, lowest)
        if real >= bound:
            within += 1
            assert raced.score == pytest.approx(real, abs=2.0)
            assert raced.tally.complete
        stopped += raced.score is None and raced.images_scored < len(full.splits.val)
    assert within >= 5
    assert stopped >= 5
    hopeless = some_mask(num_filters, 0.0)
    assert engine.evaluate(BASE, layer, hopeless, None).score == full.evaluate(BASE, layer, hopeless, None).score
    assert engine.evaluate(BASE, layer, hopeless, lowest).images_scored <= 80


def test_a_raced_score_does_not_depend_on_the_floors_asked_before(trained: Trained) -> None:
    full, layer = engine_of(trained.network, trained.splits), "features.24"
    engine, num_filters = approximate(full, racing=0.5), full.graph.group(layer).num_filters
    seen = set()
    for seed in range(8):
        mask = some_mask(num_filters, seed / 8, seed)
        ended = engine.evaluate(BASE, layer, mask, None).tally
        for lowest in range(10, 100, 15):
            fresh = engine.evaluate(BASE, layer, mask, lowest)
            assert fresh.score == ended.score(lowest)
            assert engine.evaluate(BASE, layer, mask, lowest, fresh.tally).tally == fresh.tally
            seen.add(fresh.score is None)
    assert seen == {True, False}


def test_the_bound_of_a_race_by_hand() -> None:
    score = small().score
    parent = torch.tensor([100.0] * 80 + [0.0] * 20).double()
    race = Race(2.0, 80.0, parent)
    assert race.bound(parent[:20]) == float("inf")
    candidate = parent[20:50].clone()
    candidate[:10] = 0.0
    share = 10 / 50
    error = 100 * (share * (1 - share) * 50 / 49 / 50 * (1 - 50 / 100)) ** 0.5
    assert race.bound(candidate) == pytest.approx(80 - 20 + 2 * error)
    logits, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]]), torch.tensor([0, 0, 0])
    assert image_scores(score, logits, labels).tolist() == [100.0, 0.0, 100.0]
