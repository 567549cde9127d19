"""A baseline's initial weights come from its seed alone, also with lazy layers and unusual generators."""

from __future__ import annotations

import random
import sys
import types

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raprune.baseline.prepare import initial_network
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.identity import of_tensors
from raprune.study import document_of, expand
from raprune.study.schema import TrialSpec


class Lazy(nn.Module):
    """Learns its sizes from the first images."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(features)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def of_other_generators(num_classes: int) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, num_classes))
    with torch.no_grad():
        network[0].weight *= random.random() * float(np.random.rand())
    return network


def impossible(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 99), nn.Flatten(), nn.LazyLinear(num_classes))


@pytest.fixture
def trial_of(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    module = types.ModuleType("drawn_nets")
    module.lazy = lambda num_classes: Lazy(num_classes)  # type: ignore[attr-defined]
    module.others, module.impossible = of_other_generators, impossible  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "drawn_nets", module)

    def make(name: str, seed: int = 0) -> TrialSpec:
        study = {"name": "drawn", "model": {"import": f"drawn_nets:{name}"}, "dataset": {"name": "digits"}}
        rest = {"drop_bound": 5.0, "method": "magnitude", "baseline": {"seed": seed}}
        return expand(document_of({**study, **rest}, "here")).trials[0]

    return make


@pytest.mark.parametrize("name", ["lazy", "others"])
def test_the_seed_alone_decides(name: str, trial_of) -> None:  # type: ignore[no-untyped-def]
    found, inputs = [], Inputs()
    splits = inputs.data(trial_of(name, 0).dataset)
    for state, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(state)
        random.seed(state)
        np.random.seed(state)
        found.append(of_tensors(initial_network(trial_of(name, seed), splits, inputs).state_dict()))
        drawn = torch.rand(1), random.random(), np.random.rand()
        torch.manual_seed(state)
        random.seed(state)
        np.random.seed(state)
        assert drawn == (torch.rand(1), random.random(), np.random.rand())  # nothing was drawn outside
    assert found[0] == found[1] != found[2]


def test_a_lazy_network_that_cannot_take_the_images_says_so(trial_of) -> None:  # type: ignore[no-untyped-def]
    trial, inputs = trial_of("impossible"), Inputs()
    with pytest.raises(InputError, match=r"the network cannot take images of \(1, 32, 32\): "):
        initial_network(trial, inputs.data(trial.dataset), inputs)
