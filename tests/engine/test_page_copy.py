"""The copies of networks for the report's page: near enough, small, and only of networks that a page can run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from raprune.engine import Engine
from raprune.engine import page_copy as module
from raprune.engine.tasks import PageCopy
from raprune.network.chain import network_of
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.results import read_page_copy, write_page_copy
from tests.tiny import Trained, engine_of, lively_vgg, own_labels

BASELINE = State.baseline("baseline")


@pytest.fixture(scope="module")
def engine(trained: Trained) -> Engine:
    return engine_of(trained.network, trained.splits)


def copy_of(engine: Engine, state: State = BASELINE) -> dict[str, Any]:
    copy = PageCopy().run(engine, state)
    assert copy is not None
    return copy


def test_a_copy_is_within_half_a_point_of_its_network(engine: Engine, trained: Trained) -> None:
    copy, test = copy_of(engine), trained.splits.test
    assert test is not None
    assert copy["num_images"] == len(test)
    assert abs(copy["num_right"] - copy["num_right_unrounded"]) <= 0.005 * len(test)
    assert 100 * copy["num_right_unrounded"] / len(test) == pytest.approx(engine.measure(BASELINE, "test"))
    with torch.no_grad():
        answers = network_of(copy["steps"])(normalise(test.images_BCHW, trained.splits)).argmax(1)
    assert int((answers == test.labels_B).sum()) == copy["num_right"]
    wrong = {example["index"]: example["label"] for example in copy["wrong"]}
    assert wrong == {i: int(test.labels_B[i]) for i in (answers != test.labels_B).nonzero()[:4, 0].tolist()}


def test_a_cut_copy_knows_the_places_of_its_filters(engine: Engine) -> None:
    number = engine.graph.group("features.10").num_filters
    mask = KeepMask(bytes(place % 2 for place in range(number)))
    steps = {step["layer"]: step for step in copy_of(engine, BASELINE.cut(engine.graph, "features.10", mask))["steps"]
             if step["op"] == "conv"}  # fmt: skip
    assert steps["features.10"]["kept"] == [*range(1, number, 2)]
    assert steps["features.10"]["num_filters"] == number
    assert steps["features.10"]["shape"][0] == steps["features.14"]["shape"][1] == number // 2
    assert len(steps["features.0"]["kept"]) == steps["features.0"]["num_filters"]


def test_examples_show_every_class(engine: Engine, trained: Trained) -> None:
    copy, test = copy_of(engine), trained.splits.test
    assert test is not None
    labels = [example["label"] for example in copy["examples"]]
    assert labels == sorted(labels)
    assert set(labels) == set(range(10))
    assert len(labels) == module.NUM_EXAMPLES
    for example in copy["examples"]:
        assert example["pixels"] == test.images_BCHW[example["index"]].flatten().tolist()
        assert example["label"] == int(test.labels_B[example["index"]])


def test_what_an_engine_gives_can_be_written_and_read(engine: Engine, tmp_path: Any) -> None:
    copy = copy_of(engine)
    write_page_copy(tmp_path, copy, "weights")
    read = read_page_copy(tmp_path)
    assert read == {"format_version": 1, "baseline": "weights", **copy}
    assert copy["drawn"] == {"bitmap": 32, "width": 24, "cells": 8, "pen": 5.0}


def test_without_test_images_validation_images_are_shown(trained: Trained) -> None:
    splits = replace(trained.splits, test=None, class_names=(), drawn=None)
    copy = copy_of(engine_of(trained.network, splits))
    assert (copy["split"], copy["num_images"]) == ("val", len(splits.val))
    assert copy["class_names"] == [str(number) for number in range(10)]
    assert copy["drawn"] is None


def test_colours_are_shown_too() -> None:
    network = lively_vgg()
    copy = copy_of(engine_of(network, own_labels(network, 60)))
    assert copy["input_shape"] == [3, 32, 32]
    assert copy["num_right_unrounded"] == 50


def few(splits: Splits) -> Splits:
    """A few images of each split."""
    return replace(splits, train=_first(splits.train), val=_first(splits.val), test=None)


def _first(split: Split) -> Split:
    return Split(split.images_BCHW[:20], split.labels_B[:20])


def floats(splits: Splits) -> Splits:
    def scaled(split: Split) -> Split:
        return Split(normalise(split.images_BCHW, splits), split.labels_B)

    return replace(splits, train=scaled(splits.train), val=scaled(splits.val), mean=(), std=())


def test_networks_that_a_page_cannot_run_have_none(trained: Trained) -> None:
    splits = few(trained.splits)
    small = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 1024, 10)).eval()
    assert copy_of(engine_of(small, splits))["num_images"] == 20
    assert PageCopy().run(engine_of(small, floats(splits)), BASELINE) is None
    small[1] = nn.Tanh()
    assert PageCopy().run(engine_of(small, splits), BASELINE) is None


def test_the_grid_is_the_coarsest_that_is_near_enough(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def letters() -> int:
        return len({letter for step in copy_of(engine)["steps"] for letter in step.get("weights", "")})

    assert 7 <= letters() < 63
    monkeypatch.setattr(module, "MAX_MOVED", 1.0)
    assert letters() == 7
    monkeypatch.setattr(module, "MAX_MOVED", 0.0)
    assert letters() == 63
    monkeypatch.setattr(module, "MAX_MOVED_FINEST", 0.0)
    assert PageCopy().run(engine, BASELINE) is None


@pytest.mark.parametrize("limit", ["MAX_PARAMS", "MAX_MACS", "MAX_SIDE", "MAX_CLASSES", "MAX_MOVED_UNROUNDED"])
def test_limits_hold(limit: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, -1 if "MOVED" in limit else 9)
    assert PageCopy().run(engine, BASELINE) is None
