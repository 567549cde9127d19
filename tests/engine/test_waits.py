"""How often a GPU is waited for: not for each batch, image or mask where nothing depends on a single one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.engine import paired, racing
from raprune.engine.approximate import ApproximateEngine
from raprune.engine.paired import PairedCounts
from raprune.engine.stacked import StackedEngine
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores import base
from raprune.registry import SCORES
from raprune.study.fidelity import FidelitySpec
from tests.engine.test_naive_is_exact import masks, network_and_splits
from tests.tiny import engine_of, lively_short, own_labels

STATE, LAYER = State.baseline("baseline"), "features.10"


def waits(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[int]:
    """Counts that each wait fetches."""
    numbers, real = list[int](), base.fetched

    def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
        numbers.append(len(tensors))
        return real(tensors)

    monkeypatch.setattr(module, "fetched", fetched)
    return numbers


@pytest.mark.parametrize("of", [{"precision": "bfloat16"}, {"val_images": 30}])
def test_once_for_a_candidate_that_no_floor_can_end(of: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network = lively_short()
    full = engine_of(network, own_labels(network, 120), batch_size=10)
    engine = ApproximateEngine(replace(full.workload, fidelity=FidelitySpec.model_validate(of)))
    mask = KeepMask.of(torch.arange(full.graph.group(LAYER).num_filters) % 2 == 0)
    reached = engine.evaluate(STATE, LAYER, mask, 0.0)  # a floor that every candidate reaches
    started = engine.evaluate(STATE, LAYER, mask, 101.0).tally  # one that none does
    numbers = waits(monkeypatch, base)
    found = engine.evaluate(STATE, LAYER, mask, None)
    assert found.tally == reached.tally
    number = len(list(engine._val_batches(0)))
    assert number > 1
    assert numbers == [number] * 2  # counts, and totals
    assert not started.complete
    assert engine.evaluate(STATE, LAYER, mask, None, started).tally == reached.tally


class Counting:
    """A score of pixels that counts how often totals are asked for: on a GPU, they lie there."""

    def __init__(self) -> None:
        self.score = SCORES.build("global_accuracy", {})
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.score, name)

    def whole(self, labels_B: Tensor) -> Tensor:
        self.asked += 1
        return self.score.whole(labels_B)


def test_totals_are_fetched_once_for_the_masks_of_a_launch() -> None:
    network, splits = network_and_splits("unpooling")
    engine = engine_of(network, splits, score="global_accuracy", stacked=True)
    assert isinstance(engine, StackedEngine)
    layer = next(name for name in engine.graph.groups if engine._num_slots(STATE, engine._halves(STATE, name)) > 1)
    asked = masks(engine, layer, 5)
    expected = [engine.evaluate(STATE, layer, mask, None).tally for mask in asked]
    engine.score = counting = Counting()
    found = engine.evaluate_many(STATE, layer, asked, None, [None] * len(asked))
    assert [scored.tally for scored in found] == expected
    assert counting.asked == 1 + len(list(engine._val_batches(0)))


def test_once_for_the_images_of_a_batch_in_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = waits(monkeypatch, racing)
    logits, labels = torch.eye(3)[[0, 1, 1, 0]], torch.tensor([0, 1, 2, 1])
    found = racing.image_scores(SCORES.build("top1_accuracy", {}), logits, labels)
    assert found.tolist() == [100.0, 100.0, 0.0, 0.0]
    assert numbers == [4, 4]


def test_once_for_the_images_of_a_batch_of_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, numbers = torch.Generator().manual_seed(0), waits(monkeypatch, paired)
    first, second = (torch.rand(20, 5, generator=generator) for _ in range(2))
    labels = torch.arange(20) % 5
    counts = PairedCounts(SCORES.build("top1_accuracy", {}), 20)
    counts.add(first, second, labels)
    assert numbers == [20] * 3
    right = [(logits.argmax(1) == labels) for logits in (first, second)]
    found = counts.result()
    assert found.lost == int((right[0] & ~right[1]).sum())
    assert found.won == int((right[1] & ~right[0]).sum())
