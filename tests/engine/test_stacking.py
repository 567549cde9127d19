"""Masks in one launch: a mask's result depends on that mask, never on those beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from raprune.engine.launches import MASKS_A_LAUNCH
from raprune.engine.stacked import StackedEngine
from raprune.engine.stacking import num_slots
from raprune.network.masks import KeepMask
from raprune.network.state import State
from tests.tiny import engine_of, lively_short, own_labels

STATE = State.baseline("baseline")
LAYER, NUM_IMAGES = "features.0", 50


@pytest.fixture(scope="module")
def engine() -> StackedEngine:
    net = lively_short(dtype=torch.float64)
    made = engine_of(net, own_labels(net, NUM_IMAGES), stacked=True, batch_size=20)
    assert isinstance(made, StackedEngine)
    return made


def masks(engine: StackedEngine, number: int, seed: int = 0) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(seed)
    size = engine.graph.group(LAYER).num_filters
    return [KeepMask.of(torch.rand(size, generator=generator) < 0.7) for _ in range(number)]


@pytest.mark.parametrize("lowest", [None, 40.0])
def test_a_tally_does_not_depend_on_the_other_masks_of_the_request(engine: StackedEngine, lowest: float | None) -> None:
    asked = masks(engine, 2 * MASKS_A_LAUNCH + 3)
    alone = [engine.evaluate(STATE, LAYER, mask, lowest).tally for mask in asked]
    for order in (range(len(asked)), reversed(range(len(asked))), range(0, len(asked), 3)):
        some = list(order)
        found = engine.evaluate_many(STATE, LAYER, [asked[i] for i in some], lowest, [None] * len(some))
        assert [scored.tally for scored in found] == [alone[i] for i in some]


def test_a_tally_goes_on_from_where_it_stopped(engine: StackedEngine) -> None:
    asked = masks(engine, 3, seed=1)
    whole = [engine.evaluate(STATE, LAYER, mask, None) for mask in asked]
    early = engine.evaluate_many(STATE, LAYER, asked, 99.9, [None] * 3)
    starts = [scored.tally for scored in early]
    assert any(0 < start.num_images < NUM_IMAGES for start in starts)
    starts = [None if start.complete else start for start in starts]
    rest = engine.evaluate_many(STATE, LAYER, asked, None, starts)
    assert [scored.tally for scored in rest] == [scored.tally for scored in whole]
    seen = [0 if start is None else start.num_images for start in starts]
    assert [scored.images_scored for scored in rest] == [NUM_IMAGES - number for number in seen]


class KnowsTheBatch(nn.Module):
    """What crosses holds the number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4 * 28 * 28, 10)

    def forward(self, values: Tensor) -> Tensor:
        number = values.size(0)
        return self.head(torch.relu(self.two(torch.relu(self.one(values)))).reshape(number, 4 * 28 * 28))


class Scaled(nn.Module):
    """A tensor of the network's own crosses, as long as a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4 * 28 * 28, 10)
        self.scale = nn.Parameter(torch.rand(40, 1) + 0.5)

    def forward(self, values: Tensor) -> Tensor:
        values = torch.relu(self.two(torch.relu(self.one(values)))).flatten(1)
        return self.head(values) * self.scale.mean()


@pytest.mark.parametrize("kind", [KnowsTheBatch, Scaled])
def test_masks_are_stacked_only_where_what_crosses_is_images(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = kind().double().eval()
    splits = own_labels(net, 100)
    several, one = engine_of(net, splits, stacked=True), engine_of(net, splits)
    assert isinstance(several, StackedEngine)
    generator = torch.Generator().manual_seed(0)
    asked = [torch.rand(4, generator=generator) < 0.7 for _ in range(3)]
    asked = [KeepMask.of(mask | ~mask.any()) for mask in asked]
    found = [scored.tally for scored in several.evaluate_many(STATE, "one", asked, None, [None] * 3)]
    assert found == [one.evaluate(STATE, "one", mask, None).tally for mask in asked]


def test_the_number_of_slots_follows_from_shapes(engine: StackedEngine) -> None:
    halves = engine._halves(STATE, LAYER)
    assert halves is not None
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    assert num_slots(halves, image, 1) == MASKS_A_LAUNCH
    assert num_slots(halves, image, 10**9) == 1
    knows = replace(halves, sites={"part": object()})  # type: ignore[dict-item]
    assert num_slots(knows, image, 1) == 1
