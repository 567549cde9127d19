"""The layers above a cut layer, refitted: exact where the pruned filters can be replaced, closer where they cannot."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from raprune.engine import Engine
from raprune.engine.tasks import Refit
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.base import LeastSquares
from tests.engine.test_naive_is_exact import network_and_splits
from tests.tiny import engine_of, lively_vgg, own_labels

ON = LeastSquares(40, 20)


def outputs(engine: Engine, state: State) -> Tensor:
    ((images, _),) = engine.train_sample(40, "other", 64)
    with torch.no_grad():
        result: Tensor = engine.build(state)(images)
    return result


@pytest.mark.parametrize("layer", ["features.10", "features.40"])  # read by a convolution, and by a linear layer
def test_a_filter_that_is_there_twice_is_replaced(layer: str) -> None:
    network = lively_vgg(dtype=torch.float64)
    conv, norm = (network.features[int(layer.split(".")[1]) + place] for place in (0, 1))
    with torch.no_grad():
        for tensor in (*conv.state_dict().values(), *norm.state_dict().values()):
            if tensor.dim():
                tensor[3] = tensor[5]
    engine = engine_of(network, own_labels(network, 40), naive=True)
    state = State.baseline("baseline")
    mask = KeepMask.of(torch.arange(engine.graph.group(layer).num_filters) != 3)
    whole, cut = outputs(engine, state), outputs(engine, state.cut(engine.graph, layer, mask))
    refitted = Refit(layer, mask, ON).run(engine, state)
    assert refitted.cuts == {layer: mask}
    error, error_cut = ((result - whole).abs().max() for result in (outputs(engine, refitted), cut))
    assert error < 0.05 * error_cut
    assert Refit(layer, mask, ON).run(engine, state).version == refitted.version


@pytest.mark.parametrize(("name", "residual"), [("cifar_resnet", "coupled"), ("segnet", "independent")])
def test_the_next_layers_are_closer_to_what_they_were(name: str, residual: str) -> None:
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    engine = engine_of(copy.deepcopy(network), splits, 0, residual, score=score, naive=True)
    state = State.baseline("baseline")
    for layer in list(engine.graph.groups)[:2]:
        mask = KeepMask.of(torch.arange(engine.graph.group(layer).num_filters) != 1)
        whole, cut = outputs(engine, state), outputs(engine, state.cut(engine.graph, layer, mask))
        refitted = outputs(engine, Refit(layer, mask, ON).run(engine, state))
        assert (refitted - whole).square().mean() < (cut - whole).square().mean()
