"""How often a GPU is waited for: once for several batches, or several images, where nothing depends on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.engine import paired
from raprune.engine.approximate import ApproximateEngine
from raprune.engine.paired import PairedCounts
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores import base
from raprune.registry import SCORES
from raprune.study.fidelity import FidelitySpec
from tests.tiny import engine_of, lively_vgg, own_labels

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
    network = lively_vgg()
    full = engine_of(network, own_labels(network, 120), batch_size=10)
    engine = ApproximateEngine(replace(full.workload, fidelity=FidelitySpec.model_validate(of)))
    mask = KeepMask.of(torch.arange(full.graph.group(LAYER).num_filters) % 2 == 0)
    reached = engine.evaluate(STATE, LAYER, mask, 0.0)  # a floor that every candidate reaches
    started = engine.evaluate(STATE, LAYER, mask, 101.0).tally  # one that none does
    numbers = waits(monkeypatch, base)
    found = engine.evaluate(STATE, LAYER, mask, None)
    assert found.tally == reached.tally
    assert len(numbers) == 1
    assert numbers[0] > 1
    assert not started.complete
    assert engine.evaluate(STATE, LAYER, mask, None, started).tally == reached.tally


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
