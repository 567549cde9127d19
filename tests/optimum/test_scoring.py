"""Many masks at once score what the engine gives each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.optimum.scoring import Scorer
from raprune.study.fidelity import FidelitySpec
from tests.tiny import engine_of, lively_vgg, own_labels

ROWS = range(16)


@pytest.mark.parametrize("fidelity", [FidelitySpec(), FidelitySpec(finetune="recalibrate", recalibration_batches=2)])
def test_counts_are_the_engines(fidelity: FidelitySpec) -> None:
    network = lively_vgg()
    workload = replace(engine_of(network, own_labels(network, 100)).workload, fidelity=fidelity)
    scorer = Scorer(workload, "features.3", "cpu", deepest=100.0)
    counts = scorer.rows(ROWS).tolist()
    assert counts[0] == 0
    assert len(set(counts)) > 3
    assert scorer.differing(ROWS[1:], counts[1:]) == 0
    assert scorer.differing(ROWS[1:], [count + 1 for count in counts[1:]]) == 15


def test_what_loses_too_much_counts_nothing() -> None:
    network = lively_vgg()
    workload = engine_of(network, own_labels(network, 100)).workload
    whole, some = (Scorer(workload, "features.3", "cpu", deepest) for deepest in (100.0, 50.0))
    counts = whole.rows(ROWS).tolist()
    assert some.rows(ROWS).tolist() == [count if count >= 50 else 0 for count in counts]
    assert 0 < sum(count >= 50 for count in counts) < 15
