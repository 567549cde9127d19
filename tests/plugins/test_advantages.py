"""Equal rewards teach nothing, whatever the arithmetic of their mean; neither does what differs by rounding alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raprune.network.masks import KeepMask
from raprune.plugins.methods.agent import Agent, AgentSettings, Policy, advantages
from raprune.plugins.methods.base import Evaluation, LayerView
from raprune.registry import REWARDS
from raprune.trial.candidates import Scale

PAIRS = [(n, c) for n in (2, 3, 8, 10, 16, 27, 64, 100, 256, 512) for c in range(1, n + 1)][:1009]
"""Filters of a layer, and those that a mask keeps."""


@pytest.fixture(scope="module")
def rewards() -> set[float]:
    """What masks may earn, each once: below a floor all scores earn the same."""
    found = set()
    for floor, scores in ((-1.0, [None, 12.34, 88.8]), (-0.3, [None, 12.34, 88.8]), ("none", [12.34, 88.8, 89.6])):
        scale = Scale(91.3, 1.7, REWARDS.build("bounded_log", {"floor": floor}))
        for num_filters, num_kept in PAIRS:
            mask = KeepMask.of(torch.arange(num_filters) < num_kept)
            found |= {scale.evaluation(score, mask).reward for score in scores}
    return found


@pytest.mark.parametrize("normalise", ["mean", "mean_std"])
def test_equal_rewards_have_no_advantages(rewards: set[float], normalise: str) -> None:
    for value in rewards:
        for number in range(2, 11):
            rewards_M = torch.tensor([value] * number, dtype=torch.float64)
            assert advantages(rewards_M, normalise) is None
            assert advantages(rewards_M.float(), normalise) is None


def test_rounding_is_not_amplified() -> None:
    """The same drop, measured from another number of images, and a drop that is the bound but for its last bit."""
    drop, other = 91.3 - 90.1, 51.3 - 50.1
    assert drop != other
    for bound in (0.1, 1.2, 2.0):
        psi = [(bound - one) / bound for one in (drop, other, drop)]
        assert advantages(torch.tensor([one * math.log(512) for one in psi], dtype=torch.float64), "mean_std") is None
    assert advantages(torch.tensor([1e9, 1e9 + 1e-6, 1e9], dtype=torch.float64), "mean_std") is None


def test_a_single_image_still_tells() -> None:
    """One image of 50,000 is a hundred-thousandth of the reward: the largest advantage is that of the better mask."""
    scale = Scale(90.0, 4.0, REWARDS.build("bounded_log", {}))
    mask = KeepMask.of(torch.arange(64) < 63)
    rewards = [scale.evaluation(score, mask).reward for score in (89.0, 89.0, 89.002)]
    found = advantages(torch.tensor(rewards, dtype=torch.float64), "mean_std")
    assert found is not None
    torch.testing.assert_close(found, torch.tensor([-1.0, -1.0, 2.0]) / math.sqrt(2), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("num_filters", "num_kept"), [(8, 5), (10, 3), (64, 41)])
def test_an_update_of_equal_rewards_moves_nothing(num_filters: int, num_kept: int) -> None:
    scale = Scale(100.0, 2.0, REWARDS.build("bounded_log", {}))
    kept = KeepMask.of(torch.arange(num_filters) < num_kept)

    class AtTheFloor:
        left = None
        seen = ()

        def __call__(self, masks: list[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
            return [scale.evaluation(None, kept) for _ in masks]

    method = Agent(AgentSettings(min_updates=3, max_updates=3))
    view = LayerView("x", torch.randn(num_filters, 30, generator=torch.Generator().manual_seed(1)))
    start = method._policy(view, torch.Generator().manual_seed(0)).state_dict()
    state = method.rank(view, AtTheFloor(), torch.Generator().manual_seed(0)).agent_state
    assert all(torch.equal(state[f"policy.{name}"], tensor) for name, tensor in start.items())
    assert not any(name.startswith("adam.") for name in state)


def test_weights_that_are_all_equal_are_not_amplified_either() -> None:
    assert not Policy(torch.full((5, 30), 0.1), AgentSettings(), torch.ones(5)).get_buffer("input_11NL").any()
