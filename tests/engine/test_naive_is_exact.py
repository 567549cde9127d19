"""The exact engine agrees with the naive one, candidate for candidate, in float64, on every shipped network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from raprune.engine import Engine
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits
from raprune.preflight.equivalence import random_cuts
from raprune.registry import MODELS
from tests.kinds import KINDS
from tests.tiny import engine_of

NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "vgg16": ({"width": 0.0625}, 32),
    "resnet18": ({"width": 0.0625}, 16),
    "cifar_resnet": ({"width": 0.25}, 16),
    "fcn32s": ({"width": 0.03125, "padding": "same"}, 32),
    "segnet": ({"width": 0.0625}, 32),
    "vgg16_imagenet": ({"width": 0.03125}, 32),
}
CLASSES, IMAGES = 5, 40


def network_and_splits(name: str) -> tuple[torch.nn.Module, Splits]:
    """The network in float64 with lively norms, and images with random labels, which many changes turn wrong.

    ``name`` is one of ``NETWORKS``, or of the small ones of tests/kinds.py.
    """
    settings, size = NETWORKS.get(name, ({}, 8))
    torch.manual_seed(1)
    if name in KINDS:
        network = KINDS[name]().double()
    else:
        network = MODELS.build(name, settings, num_classes=CLASSES, input_shape=(3, size, size)).double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    network.eval()

    def split(number: int) -> Split:
        images = torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8)
        with torch.no_grad():
            labels = network(images.double() / 255).argmax(1)
        return Split(images, torch.randint_like(labels, CLASSES))

    return network, Splits(split(IMAGES), split(IMAGES), None, CLASSES, (0.5,) * 3, (0.25,) * 3)


def engines(name: str, steps: int, residual: str) -> tuple[Engine, Engine]:
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    exact = engine_of(copy.deepcopy(network), splits, steps, residual, score=score)
    return exact, engine_of(network, splits, steps, residual, score=score, naive=True)


def a_state(engine: Engine) -> State:
    """Every third layer cut already."""
    state = State.baseline("baseline")
    plan = random_cuts(engine.graph, torch.Generator().manual_seed(2))
    for layer in list(plan)[::3]:
        state = state.cut(engine.graph, layer, KeepMask.of(plan[layer]))
    return state


def masks(engine: Engine, layer: str, number: int) -> list[KeepMask]:
    plans = [random_cuts(engine.graph, torch.Generator().manual_seed(seed)) for seed in range(number)]
    return [KeepMask.of(plan[layer]) for plan in plans]


class Counted:
    """What an engine's score counted: how often each class was taken for which, over all images of all candidates.

    A finished tally has no counts, only the score that they give.
    """

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.matrix_KK = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
        counts = engine.score.counts

        def counted(logits: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
            pairs = labels_B.long().flatten() * CLASSES + logits.argmax(1).flatten()
            self.matrix_KK += torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES)
            return counts(logits, labels_B)

        monkeypatch.setattr(engine.score, "counts", counted)

    def take(self) -> list[list[int]]:
        """The matrix since the last call."""
        found: list[list[int]] = self.matrix_KK.tolist()
        self.matrix_KK.zero_()
        return found


RESIDUAL = [(name, "independent") for name in NETWORKS] + [("resnet18", "coupled"), ("cifar_resnet", "coupled")]


SMALL = [
    ("depthwise", "independent"), ("residual", "independent"), ("residual", "coupled"), ("unpooling", "independent"),
]  # fmt: skip
"""Small networks and modes, a kind of group each; most of the whole networks, which have the same kinds, are slow."""
QUICK = [
    *((*of, steps, most) for of in SMALL for steps, most in ((5, 3), (0, 4))),
    ("vgg16", "independent", 0, 4), ("resnet18", "coupled", 0, 4), ("segnet", "independent", 0, 2),
]  # fmt: skip
SLOW = [(*of, steps, most) for of in RESIDUAL for steps, most in ((5, 3), (0, 1000))]


@pytest.mark.parametrize(
    ("name", "residual", "steps", "most"), QUICK + [pytest.param(*of, marks=pytest.mark.slow) for of in SLOW]
)
def test_counts_are_identical_in_float64(
    name: str, residual: str, steps: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ``most`` layers, from the first on."""
    exact, naive = engines(name, steps, residual)
    counted = [Counted(engine, monkeypatch) for engine in (exact, naive)]
    seen = set()
    for state in (State.baseline("baseline"), a_state(exact)):
        whole = [layer for layer in exact.graph.groups if layer not in state.cuts]
        for layer in whole[:: max(1, len(whole) // most)]:
            for mask in masks(exact, layer, 2 if steps == 0 else 1):
                fast, slow = (engine.evaluate(state, layer, mask, None).tally for engine in (exact, naive))
                assert fast == slow, layer
                of_fast, of_slow = (each.take() for each in counted)
                assert of_fast == of_slow, layer
                assert sum(map(sum, of_fast)) == exact.splits.val.labels_B.numel()
                seen.add(str(of_fast))
    assert len(seen) > 2


@pytest.mark.parametrize(
    ("name", "residual"),
    [*SMALL, *(pytest.param(*of, marks=pytest.mark.slow if of[0] != "vgg16" else []) for of in RESIDUAL)],
)
def test_masks_in_one_launch_give_the_same_counts(name: str, residual: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    one, several = (engine_of(network, splits, 0, residual, score=score, stacked=stacked) for stacked in (False, True))
    counted = [Counted(engine, monkeypatch) for engine in (one, several)]
    state = State.baseline("baseline")
    for layer in list(one.graph.groups)[:5]:
        asked = masks(one, layer, 3)
        for lowest in (None, 20.0):
            found = [scored.tally for scored in several.evaluate_many(state, layer, asked, lowest, [None] * 3)]
            assert found == [one.evaluate(state, layer, mask, lowest).tally for mask in asked]
            of_one, of_several = (each.take() for each in counted)
            assert of_one == of_several
            assert sum(map(sum, of_one)) > 0
    assert several.launches > 0
