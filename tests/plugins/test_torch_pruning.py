"""Criteria against those of Torch-Pruning, for the first layer of each of its groups.

Two of its scores (1.6.0) are not what their names say: ``FPGMImportance`` measures distances between squared weights,
and ``GroupHessianImportance.accumulate_grad`` keeps the last image's gradient alone. They are compared as they are.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.engine import Engine
from raprune.engine.tasks import Importance
from raprune.network.state import State
from raprune.plugins.methods.probe import WeightsProbe
from raprune.registry import METHODS
from tests.tiny import engine_of, lively_vgg, own_labels

tp = pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed")
LAYER, NORM = "features.10", "features.11"


@pytest.fixture(scope="module")
def engine() -> Engine:
    network = lively_vgg(dtype=torch.float64)
    return engine_of(network, own_labels(network, 8), naive=True)


def ours(engine: Engine, name: str, **settings: Any) -> Tensor:
    values = Importance(LAYER, METHODS.build(name, settings)).run(engine, State.baseline("baseline"))
    return torch.tensor(values, dtype=torch.float64)


class Theirs:
    """The same network with the gradients that Torch-Pruning asks its user for."""

    def __init__(self, engine: Engine, num_images: int = 0) -> None:
        self.network = engine.build(State.baseline("baseline"))
        ((images, self.labels),) = engine.train_sample(max(1, num_images), "criterion", 64)
        if num_images:
            engine.score.loss(self.network(images), self.labels).backward()
        graph = tp.DependencyGraph().build_dependency(self.network, example_inputs=images[:1])
        self.group = graph.get_pruning_group(self.conv, tp.prune_conv_out_channels, list(range(8)))

    @property
    def conv(self) -> nn.Module:
        return self.network.get_submodule(LAYER)

    def scores(self, kind: Any, **settings: Any) -> Tensor:
        scores: Tensor = kind(group_reduction="first", normalizer=None, **settings)(self.group)
        return scores.double()


def agree(values: Tensor, theirs: Tensor) -> None:
    assert len(values) == 8
    torch.testing.assert_close(values, theirs, rtol=1e-5, atol=0)  # theirs are added up in float32


def test_norms_of_weights(engine: Engine) -> None:
    theirs = Theirs(engine)
    agree(ours(engine, "magnitude"), theirs.scores(tp.importance.GroupMagnitudeImportance, p=1))
    agree(ours(engine, "l2").square(), theirs.scores(tp.importance.GroupMagnitudeImportance, p=2))


def test_geometric_median(engine: Engine) -> None:
    theirs = Theirs(engine)
    weights_NM = theirs.conv.get_parameter("weight").detach().flatten(1)
    squared = METHODS.build("fpgm", {}).importance(WeightsProbe(LAYER, weights_NM.square()))
    agree(squared, theirs.scores(tp.importance.FPGMImportance))
    agree(ours(engine, "fpgm"), torch.cdist(weights_NM, weights_NM).sum(1))


def test_norm_scales(engine: Engine) -> None:
    theirs = Theirs(engine)
    graph = tp.DependencyGraph().build_dependency(theirs.network, example_inputs=torch.zeros(1, 3, 32, 32).double())
    norm = theirs.network.get_submodule(NORM)
    theirs.group = graph.get_pruning_group(norm, tp.prune_batchnorm_out_channels, list(range(8)))
    agree(ours(engine, "norm_scale"), theirs.scores(tp.importance.BNScaleImportance))


def test_taylor_of_weights(engine: Engine) -> None:
    theirs = Theirs(engine, num_images=12).scores(tp.importance.GroupTaylorImportance)
    agree(ours(engine, "taylor", of="weights", num_images=12), theirs)


def test_hessian(engine: Engine) -> None:
    theirs = Theirs(engine, num_images=1)
    scorer = tp.importance.GroupHessianImportance(group_reduction="first", normalizer=None)
    scorer.accumulate_grad(theirs.network)
    agree(ours(engine, "hessian", num_images=1) * 2, scorer(theirs.group).double())
