"""Data sets built from scikit-learn's digits: what their labels mean, and that a small network learns from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raprune.baseline.prepare import score_split
from raprune.engine.train import Recipe, train
from raprune.errors import InputError
from raprune.plugins.datasets import handwriting, scenes
from raprune.plugins.datasets.base import VOID, Splits
from raprune.plugins.scores.base import Score
from raprune.registry import DATASETS, SCORES


def load(name: str, settings: dict[str, Any]) -> Splits:
    found: Splits = DATASETS.build(name, settings)
    return found


def convolution(in_channels: int, out_channels: int, dilation: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
    return [layer, nn.BatchNorm2d(out_channels), nn.ReLU()]


def learn(splits: Splits, score: Score, layers: list[nn.Module], num_steps: int) -> float:
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(*layers)
        for module in network:
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        train(network, splits, score, Recipe(0.1, 0.9, 0.0, 10, "one_cycle"), num_steps, 0)
    return score_split(network, splits, splits.val, score, 50)


def test_digits_are_read_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes a second to import; only a version that keeps them elsewhere is imported."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "sklearn.datasets", None)
        images_NHW, labels_N = handwriting.handwritten_digits()
    monkeypatch.setattr(handwriting, "FILE", Path("moved.csv"))
    for ours, theirs in zip((images_NHW, labels_N), handwriting.handwritten_digits(), strict=True):
        assert (ours == theirs).all()
        assert ours.dtype == theirs.dtype


def test_a_scene_is_mostly_labelled_and_not_mostly_background() -> None:
    splits = load("digit_scenes", {})
    assert splits.test is not None
    assert (len(splits.train), len(splits.val), len(splits.test)) == (300, 100, 100)
    assert splits.input_shape == (3, 64, 64)
    for split in (splits.train, splits.val, splits.test):
        counts = torch.bincount(split.labels_B.flatten(), minlength=256)
        labelled = int(counts[:11].sum())
        assert 0.4 < int(counts[0]) / labelled < 0.6
        assert 0.01 < int(counts[VOID]) / split.labels_B.numel() < 0.1
        assert int(counts[1:11].min()) > 0.02 * labelled


@pytest.mark.parametrize(("digits", "size"), [(1, 32), (3, 48), (7, 96)])
def test_digits_of_a_scene(digits: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake digits, all ink, each with a class of its own, show which digit is where."""
    images, target = np.full((200, 8, 8), 16.0), np.arange(200)
    monkeypatch.setattr(scenes, "handwritten_digits", lambda: (images, target))
    splits = load("digit_scenes", {"digits": digits, "size": size, "num_train": 40, "num_val": 30, "num_test": 20})
    assert splits.test is not None
    used = {}
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        in_scenes = [set(labels.unique().tolist()) - {0, VOID} for labels in split.labels_B]
        assert max(map(len, in_scenes)) == digits
        used[name] = set.union(*in_scenes)
        ink = (split.labels_B > 0) & (split.labels_B != VOID)
        bright = split.images_BCHW.amax(1).float()
        assert bright[ink].mean() > bright[~ink].mean() + 80
    assert used["train"].isdisjoint(used["val"] | used["test"])
    assert used["val"].isdisjoint(used["test"])


def test_too_many_digits_for_a_scene() -> None:
    with pytest.raises(InputError, match=r"size: must be at least 24 for 9 digits; got 20"):
        load("digit_scenes", {"digits": 9, "size": 20})


def test_scenes_can_be_learnt() -> None:
    splits = load("digit_scenes", {"size": 32, "digits": 1, "num_train": 200})
    layers = [*convolution(3, 16), *convolution(16, 16, 2), *convolution(16, 16, 4), nn.Conv2d(16, 11, 1)]
    score: Score = SCORES.build("mean_iou", {})
    assert learn(splits, score, layers, 80) > 4 * score.chance(splits.val.labels_B, 11)


@pytest.mark.parametrize("noise", [10.0, 50.0])
def test_noise_lies_on_the_label(noise: float) -> None:
    splits = load("noisy_digits", {"noise": noise})
    inside = (splits.train.labels_B > 100) & (splits.train.labels_B < 155)
    difference = splits.train.images_BCHW[inside].float() - splits.train.labels_B[inside].float()
    assert abs(float(difference.mean())) < noise / 20
    assert float(difference.std()) == pytest.approx(noise, rel=0.05)
    clean = load("digits", {"num_val": 300, "num_test": 300})
    assert torch.equal(splits.val.labels_B, clean.val.images_BCHW)


def test_noise_can_be_removed() -> None:
    splits = load("noisy_digits", {})
    score: Score = SCORES.build("psnr", {})
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)]
    whole = score.whole(splits.val.labels_B)
    noisy = score.value(score.counts(splits.val.images_BCHW / 255, splits.val.labels_B), whole)
    assert learn(splits, score, layers, 100) > noisy + 4
