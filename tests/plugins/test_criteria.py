"""Every criterion against values worked out by hand on a network of two filters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.engine import Engine
from raprune.engine.tasks import Importance
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits
from raprune.registry import METHODS
from tests.tiny import engine_of

IMAGES_BHW = [[[1.0, -2.0]], [[3.0, 1.0]], [[-1.0, 2.0]]]
"""Three images of one channel and 1 x 2 pixels."""
LABELS = [0, 1, 1]
FILTERS, SCALES, READ = (2.0, -1.0), (0.5, -3.0), ((1.0, -0.5), (0.25, 2.0))
"""Weights of two 1x1 filters, the scales behind them, and of two outputs that read their means."""


class Two(nn.Module):
    """Two 1x1 filters, a norm that only scales, a ReLU, the mean over pixels, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2, eps=1e-30)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(FILTERS)[:, None, None, None])
            self.norm.weight.copy_(torch.tensor(SCALES))
            self.linear.weight.copy_(torch.tensor(READ))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.pool(torch.relu(self.norm(self.conv(x)))).flatten(1))
        return logits


@pytest.fixture(scope="module")
def engine() -> Engine:
    split = Split(torch.tensor(IMAGES_BHW, dtype=torch.float64)[:, None], torch.tensor(LABELS))
    return engine_of(Two().double().eval(), Splits(split, split, None, 2), naive=True, batch_size=2)


def importance(engine: Engine, name: str, **settings: Any) -> list[float]:
    return Importance("conv", METHODS.build(name, settings)).run(engine, State.baseline("baseline"))


def activations(image: list[list[float]]) -> list[list[float]]:
    """What the two filters return for an image, pixel by pixel, after norm and ReLU."""
    return [[max(0.0, w * s * x) for x in image[0]] for w, s in zip(FILTERS, SCALES, strict=True)]


def means(image: list[list[float]]) -> list[float]:
    return [sum(pixels) / 2 for pixels in activations(image)]


def probabilities(read: list[float]) -> list[float]:
    logits = [sum(w * a for w, a in zip(row, read, strict=True)) for row in READ]
    return [math.exp(logit) / sum(map(math.exp, logits)) for logit in logits]


def test_l2_and_magnitude(engine: Engine) -> None:
    assert importance(engine, "l2") == importance(engine, "magnitude") == [2.0, 1.0]


def test_fpgm(engine: Engine) -> None:
    assert importance(engine, "fpgm") == [3.0, 3.0]  # |2 - -1|, from either


def test_norm_scale(engine: Engine) -> None:
    assert importance(engine, "norm_scale") == [0.5, 3.0]


def test_taylor(engine: Engine) -> None:
    expected = [0.0, 0.0]
    for image, label in zip(IMAGES_BHW, LABELS, strict=True):
        read = means(image)
        errors = [p - (k == label) for k, p in enumerate(probabilities(read))]
        for one in range(2):  # the gate multiplies the filter's mean: d loss / d gate = mean * sum of error * weight
            slope = read[one] * sum(error * row[one] for error, row in zip(errors, READ, strict=True))
            expected[one] += slope**2 / 3
    assert importance(engine, "taylor") == pytest.approx(expected, rel=1e-12)
    assert min(expected) > 1e-3


def test_taylor_of_weights(engine: Engine) -> None:
    slopes = [0.0, 0.0]
    for image, label in zip(IMAGES_BHW, LABELS, strict=True):
        read = means(image)
        errors = [p - (k == label) for k, p in enumerate(probabilities(read))]
        for one in range(2):  # a filter of one weight without bias: weight * gradient is the gate's gradient
            slopes[one] += read[one] * sum(error * row[one] for error, row in zip(errors, READ, strict=True)) / 3
    assert importance(engine, "taylor", of="weights") == pytest.approx([abs(slope) for slope in slopes], rel=1e-12)


def test_fewer_images(engine: Engine) -> None:
    assert importance(engine, "taylor", num_images=1) != importance(engine, "taylor", num_images=3)
    assert importance(engine, "taylor", num_images=3) == importance(engine, "taylor", num_images=99)
