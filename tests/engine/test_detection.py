"""Detection networks in the engines: the same scores, early exits, fine-tunes and criteria as other networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from raprune.baseline.sane import check_sane
from raprune.engine.tasks import Importance, Look
from raprune.errors import InputError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.datasets.boxes import padded_boxes
from raprune.plugins.scores.detection_heads import HEADS, Limits
from raprune.registry import METHODS, MODELS, SCORES
from raprune.study.fidelity import FidelitySpec
from tests.tiny import engine_of

LAYER = "backbone.blocks.2.0"
NAME = "mean_average_precision"
BASELINE = State.baseline("baseline")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A random detector whose channels all matter and whose scores differ, in float64."""
    torch.manual_seed(0)
    made: nn.Module = MODELS.build("small_ssd", {"width": 0.25}, num_classes=4, input_shape=(3, 32, 32))
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.5)
    return made.double().eval()


@pytest.fixture(scope="module")
def splits(network: nn.Module) -> Splits:
    """Random blocks of colour; their boxes are the three best of the network's own detections."""
    generator = torch.Generator().manual_seed(0)
    one = Split(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), padded_boxes([[]]))
    empty = Splits(one, one, None, 4, (0.5,) * 3, (0.25,) * 3)

    def split(number: int) -> Split:
        blocks = torch.randint(0, 256, (number, 3, 4, 4), dtype=torch.uint8, generator=generator)
        images = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
        with torch.no_grad():
            rows = network(normalise(images, empty, torch.float64))
        boxes = []
        for of_image in rows:
            edges, _, classes = HEADS["ssd"].detect(of_image, Limits(0.1, 200, 0.5, 3))
            found = zip(edges.tolist(), classes.tolist(), strict=True)
            boxes.append([(label, *box, 0.0) for box, label in found if box[0] < box[2] and box[1] < box[3]])
        return Split(images, padded_boxes(boxes))

    return replace(empty, train=split(24), val=split(40), guard=split(30))


def masks(number: int) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(1)
    return [KeepMask.of(torch.rand(12, generator=generator) < 0.75) for _ in range(number)]


def test_every_engine_scores_alike_and_gives_up_exactly(network: nn.Module, splits: Splits) -> None:
    exact, naive, stacked = (
        engine_of(network, splits, score=NAME, batch_size=13, **kind)
        for kind in ({}, {"naive": True}, {"stacked": True})
    )
    baseline = exact.measure(BASELINE, "val")
    scores = [naive.evaluate(BASELINE, LAYER, mask, None).score for mask in masks(4)]
    assert len({*scores, baseline}) == 5
    assert [exact.evaluate(BASELINE, LAYER, mask, None).score for mask in masks(4)] == scores
    assert [found.score for found in stacked.evaluate_many(BASELINE, LAYER, masks(4), None, [None] * 4)] == scores
    for mask, score in zip(masks(4), scores, strict=True):
        assert score is not None
        assert exact.evaluate(BASELINE, LAYER, mask, score).score == score
        early = exact.evaluate(BASELINE, LAYER, mask, baseline)
        assert (early.score is None) == (score < baseline)
        resumed = exact.evaluate(BASELINE, LAYER, mask, None, early.tally if early.score is None else None)
        assert resumed.score == score
    given_up = [exact.evaluate(BASELINE, LAYER, mask, 99.0) for mask in masks(4)]
    assert min(found.images_scored for found in given_up) < len(splits.val)


def test_it_is_fine_tuned_by_its_own_loss(network: nn.Module, splits: Splits) -> None:
    engine = engine_of(network.float(), splits, score=NAME)
    cut = BASELINE.cut(engine.graph, LAYER, masks(1)[0])
    tuned = engine.finetune(cut, "commit", cut.version)
    before, after = (engine.build(state)(engine.as_input(splits.train.images_BCHW)) for state in (cut, tuned))
    assert engine.score.loss(after, splits.train.labels_B) < engine.score.loss(before, splits.train.labels_B)
    network.double()


@pytest.mark.parametrize("method", ["taylor", "relative_entropy", "hessian", "apoz"])
def test_criteria_read_it(network: nn.Module, splits: Splits, method: str) -> None:
    engine = engine_of(network, splits, score=NAME)
    found = Importance(LAYER, METHODS.build(method, {"num_images": 8})).run(engine, BASELINE)
    assert len({round(value, 12) for value in found}) > 6


def test_the_guard_bounds_its_drop(network: nn.Module, splits: Splits) -> None:
    engine = engine_of(network, splits, score=NAME)
    cut = BASELINE.cut(engine.graph, LAYER, masks(1)[0])
    paired = Look().run(engine, cut)
    assert paired.drop == engine.measure(BASELINE, "guard") - engine.measure(cut, "guard")
    assert paired.num_groups == len(splits.split("guard"))
    assert paired.limit(0.95) > paired.drop + paired.standard_error > paired.drop


def test_racing_is_refused(network: nn.Module, splits: Splits) -> None:
    from raprune.engine.approximate import ApproximateEngine

    workload = replace(engine_of(network, splits, score=NAME).workload, fidelity=FidelitySpec(racing=2.0))
    with pytest.raises(InputError, match="mean_average_precision is no mean over images"):
        ApproximateEngine(workload)


def test_boxes_of_other_images_are_chance(network: nn.Module, splits: Splits) -> None:
    score = SCORES.build(NAME, {})
    assert check_sane(network, splits, splits.val, score, 20) == engine_of(network, splits, score=NAME).measure(
        BASELINE, "val"
    )
    moved = replace(splits.val, labels_B=splits.val.labels_B.roll(7, 0))
    with pytest.raises(InputError, match=r"no better than chance \(with the boxes of other images, it scores"):
        check_sane(network, splits, moved, score, 20)
