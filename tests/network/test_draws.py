"""A program's generators go on after a call of ours as if it had not drawn."""

from __future__ import annotations

import pytest
import torch

from raprune.baseline.prepare import drawn_from
from raprune.engine.train import Recipe, train
from raprune.network.draws import drawn
from raprune.network.graph import trace
from raprune.registry import SCORES
from tests.tiny import lively_vgg, own_labels


def test_equal_seeds_give_equal_draws_and_the_programs_go_on() -> None:
    torch.manual_seed(5)
    first, second = torch.rand(3), torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), first)
    with drawn(1):
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(1)))
    with pytest.raises(TypeError), drawn(1):
        torch.rand(None)
    assert torch.equal(torch.rand(3), second)
    assert torch.initial_seed() == 5


def test_a_gpu_that_is_not_in_use_yet_keeps_the_programs_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch notes the last seed that GPUs were given, for when one is used first."""
    seeds = list[int]()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    network = lively_vgg()
    splits = own_labels(network, 8)
    torch.manual_seed(77)
    seeds.clear()
    for block in (drawn, drawn_from):
        with block(1):
            assert seeds.pop() == 1
        assert seeds.pop() == 77
    train(network, splits, SCORES.build("top1_accuracy", {}), Recipe(0.01, 0.9, 0.0, 32, "linear"), 1, seed=3)
    assert seeds == [3, 77]
    trace(network, (3, 32, 32))
    assert seeds[-1] == 77
