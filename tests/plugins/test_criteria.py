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
from raprune.plugins.methods.lasso import leaving_penalties
from raprune.plugins.methods.probe import WeightsProbe
from raprune.plugins.methods.thinet import removed_in_turn
from raprune.registry import METHODS
from tests.tiny import engine_of

IMAGES_BHW = [[[1.0, -2.0]], [[3.0, 1.0]], [[-1.0, 2.0]], [[2.0, 1.0]]]
"""Four images of one channel and 1 x 2 pixels."""
LABELS = [0, 1, 1, 0]
FILTERS, SCALES, READ = (2.0, 1.0), (0.5, -3.0), ((1.0, -0.5), (0.25, 2.0))
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


def importance_of(weights_NM: Tensor, name: str) -> list[float]:
    values: list[float] = METHODS.build(name, {}).importance(WeightsProbe("conv", weights_NM)).tolist()
    return values


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
    assert importance(engine, "fpgm") == [1.0, 1.0]  # 2 - 1, from either
    weights_NM = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    assert importance_of(weights_NM, "fpgm") == [9.0, 8.0, 7.0]


def test_norm_scale(engine: Engine) -> None:
    assert importance(engine, "norm_scale") == [0.5, 3.0]


def slopes(image: list[list[float]], label: int) -> list[float]:
    """The derivative of the loss by a gate on each filter: mean * sum over classes of error * weight."""
    read = means(image)
    errors = [p - (k == label) for k, p in enumerate(probabilities(read))]
    return [read[one] * sum(error * row[one] for error, row in zip(errors, READ, strict=True)) for one in range(2)]


SLOPES = [slopes(image, label) for image, label in zip(IMAGES_BHW, LABELS, strict=True)]
SQUARED = [sum(slope[one] ** 2 for slope in SLOPES) / 4 for one in range(2)]


def test_taylor(engine: Engine) -> None:
    assert importance(engine, "taylor") == pytest.approx(SQUARED, rel=1e-12)
    assert min(SQUARED) > 1e-3


def test_taylor_of_weights(engine: Engine) -> None:  # filters have one weight: weight * gradient is the gate's slope
    expected = [abs(sum(slope[one] for slope in SLOPES)) / 4 for one in range(2)]
    assert importance(engine, "taylor", of="weights") == pytest.approx(expected, rel=1e-12)


def test_hessian(engine: Engine) -> None:
    assert importance(engine, "hessian") == pytest.approx([squared / 2 for squared in SQUARED], rel=1e-12)


def test_apoz(engine: Engine) -> None:
    assert importance(engine, "apoz") == [6 / 8, 2 / 8]  # of 4 images of 2 pixels


def test_entropy(engine: Engine) -> None:
    # means 0.5, 2, 1, 1.5, each in a quarter of its own; and 3, 0, 1.5, 0: two in the first, one in the third and last
    assert importance(engine, "entropy", num_bins=4) == pytest.approx([math.log(4), 1.5 * math.log(2)])
    assert importance(engine, "entropy", num_images=1) == [0.0, 0.0]


def test_hrank(engine: Engine) -> None:
    assert importance(engine, "hrank") == [1.0, 0.5]  # the second returns zeros for two of four images


def test_relative_entropy(engine: Engine) -> None:
    expected = [0.0, 0.0]
    for image in IMAGES_BHW:
        read = means(image)
        for one in range(2):
            without = probabilities([0.0 if place == one else mean for place, mean in enumerate(read)])
            expected[one] += sum(p * math.log(p / q) for p, q in zip(probabilities(read), without, strict=True)) / 4
    assert importance(engine, "relative_entropy") == pytest.approx(expected, rel=1e-12)


def test_thinet_and_lasso(engine: Engine) -> None:
    # squares of contributions: 7.5 * (1 + 1/16) against 11.25 * (1/4 + 4), so the first filter is missed less
    assert importance(engine, "thinet", samples_per_image=50) == [0.0, 1.0]
    assert importance(engine, "lasso", samples_per_image=50) == [0.0, 1.0]


def test_thinet_removes_what_cancels() -> None:
    values_N = torch.tensor([1.0, 2.0, -2.5], dtype=torch.float64)
    assert removed_in_turn(torch.outer(values_N, values_N)).tolist() == [0.0, 2.0, 1.0]  # 1; then 1 - 2.5; then 2


def penalties(gram: list[list[float]], whole: list[float]) -> list[float]:
    found: list[float] = leaving_penalties(
        torch.tensor(gram, dtype=torch.float64), torch.tensor(whole, dtype=torch.float64)
    ).tolist()
    return found


def test_the_path_of_lasso() -> None:
    assert penalties([[4.0, 0.0], [0.0, 1.0]], [1.0, 3.0]) == pytest.approx([4.0, 3.0], rel=1e-3)
    # the second comes on at 0.5 + 2 = 2.5; below, the first has 2 - 0.5 * (2.5 - penalty) left: the penalty, at 1.5
    assert penalties([[1.0, 0.5], [0.5, 1.0]], [1.0, 2.0]) == pytest.approx([1.5, 2.5], rel=1e-3)
    assert penalties([[0.0, 0.0], [0.0, 2.0]], [1.0, 1.0]) == pytest.approx([0.0, 2.0], rel=1e-3)
    assert penalties([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0]) == pytest.approx([2.0, 2.0], rel=1e-3)


def test_the_path_of_lasso_is_where_coefficients_vanish() -> None:
    rng = torch.Generator().manual_seed(0)
    values_SN = torch.randn(60, 5, generator=rng, dtype=torch.float64).relu()
    values_SN[:, 3] += values_SN[:, 2]
    whole_N = torch.rand(5, generator=rng, dtype=torch.float64) + 0.5
    gram_NN = values_SN.T @ values_SN
    for one, penalty in enumerate(leaving_penalties(gram_NN, whole_N).tolist()):
        assert descended(gram_NN, whole_N, 1.01 * penalty)[one] == 0
        assert descended(gram_NN, whole_N, 0.99 * penalty)[one] != 0


def descended(gram_NN: Tensor, whole_N: Tensor, penalty: float) -> Tensor:
    """The coefficients by coordinate descent."""
    coefficient_N, target_N = whole_N.clone(), gram_NN @ whole_N
    for _ in range(100):
        for one in range(len(whole_N)):
            rest = target_N[one] - gram_NN[one] @ coefficient_N + gram_NN[one, one] * coefficient_N[one]
            coefficient_N[one] = rest.sign() * (rest.abs() - penalty).clamp(min=0) / gram_NN[one, one]
    return coefficient_N


def test_fewer_images(engine: Engine) -> None:
    assert importance(engine, "taylor", num_images=1) != importance(engine, "taylor", num_images=4)
    assert importance(engine, "taylor", num_images=4) == importance(engine, "taylor", num_images=99)
