"""Every network, both residual modes, random masks over every group: the smaller network is the masked one.

Masking is done at every node whose channels the graph says to come from filters; what the graph says is held against
hand counts in test_counts.py, and against masking after the norm in test_masked_is_removed.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from raprune.engine.split import split
from raprune.network.graph import Traced, trace
from raprune.network.surgery import cut_tensors, shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.networks import ALIKE, EVERY, Entry, make_lively


@dataclass(frozen=True)
class Case:
    """A network in one residual mode, in both precisions with the same weights."""

    entry: Entry
    residual: str
    single: Traced
    double: Traced
    plan: dict[str, torch.Tensor]

    def images(self, number: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randn(number, *self.entry.input_shape, generator=generator).to(dtype)


CASES = [(name, residual) for name in EVERY for residual in ("independent", "coupled")]
LONG = {
    *(f"torchvision {name}" for name in ("resnext50_32x4d", "fcn_resnet50", "resnet50", "vgg11_bn", "mobilenet_v2")),
    *("torchvision densenet121", "timm mobilenetv3_small_050", "timm hrnet_w18_small", "fcn32s"),
}
"""Networks that take long; each kind of block in them is in another one, too, for the last four in ``SHORT``."""
REPEATED = {("cifar_resnet", "coupled"), *((name, "coupled") for name in ALIKE if name != "vgg16")}
SLOW = {case for case in CASES if case[0] in LONG or case in REPEATED}
PARAMS = [pytest.param(case, id=" ".join(case), marks=[pytest.mark.slow] if case in SLOW else []) for case in CASES]


@pytest.fixture(scope="module", params=PARAMS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name, residual = request.param
    entry = EVERY[name]
    single = trace(make_lively(name), entry.input_shape, residual=residual, **entry.options)
    double = Traced(copy.deepcopy(single.network).double(), single.graph)
    return Case(entry, residual, single, double, random_cuts(single.graph, torch.Generator().manual_seed(5)))


def test_every_convolution_but_the_output_can_be_pruned(case: Case) -> None:
    graph = case.single.graph
    assert graph.prunable() == (case.entry.num_convs, case.entry.num_convs)
    assert len(graph.groups) == case.entry.num_groups[case.residual]
    assert set(graph.whole.values()) <= {"its filters are the network's output"}


def test_masked_is_removed(case: Case) -> None:
    prove(case.double, case.entry.input_shape, seed=1)  # raises at the first node that differs, in float64
    assert case.plan


def test_float32_agrees(case: Case) -> None:
    with torch.no_grad():
        expected = shrink(case.double, case.plan)(case.images(dtype=torch.float64))
        found = shrink(case.single, case.plan)(case.images()).double()
    largest = float(expected.abs().max())
    assert float((found - expected).abs().max()) <= 1e-5 * largest
    best_two = expected.topk(2, dim=1).values
    clear = (best_two[:, 0] - best_two[:, 1]) > 2e-5 * largest
    assert torch.equal(found.argmax(1)[clear], expected.argmax(1)[clear])


def test_layer_after_layer_is_all_at_once(case: Case) -> None:
    graph, tensors = case.single.graph, case.single.network.state_dict()
    at_once = cut_tensors(graph, tensors, {}, case.plan)
    middle = dict(list(case.plan.items())[::2])
    tensors = cut_tensors(graph, tensors, {}, middle)
    for layer in list(case.plan)[1::2]:
        tensors = cut_tensors(graph, tensors, middle, {**middle, layer: case.plan[layer]})
        middle[layer] = case.plan[layer]
    assert all(torch.equal(tensor, at_once[key]) for key, tensor in tensors.items())


def test_candidates_of_a_split_network_are_the_smaller_ones(case: Case) -> None:
    layers = list(case.plan)
    x = case.images(dtype=torch.float64)
    compared = 0
    widest = max(range(len(layers)), key=lambda i: len(case.double.graph.groups[layers[i]].members))
    for index in sorted({0, widest, len(layers) - 1}):
        below = {layer: case.plan[layer] for layer in layers[:index]}
        layer = layers[index]
        network = shrink(case.double, below)
        assert isinstance(network, torch.fx.GraphModule)
        halves = split(network, case.double.graph, layer, below)
        if halves is None:
            continue
        with torch.no_grad():
            expected = shrink(case.double, {**below, layer: case.plan[layer]})(x)
            found = halves.candidate(case.plan[layer])(halves.prefix(x))
        assert float((found - expected).abs().max()) <= 1e-12 * float(expected.abs().max())
        compared += 1
    assert compared


def test_it_learns_after_surgery(case: Case) -> None:
    small = shrink(case.single, case.plan).train()
    learning = [p for p in small.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=1e-3)
    small(case.images(4)).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in learning)
    before = [p.detach().clone() for p in learning]
    optimiser.step()
    assert any(not torch.equal(old, p) for old, p in zip(before, learning, strict=True))
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
    with torch.no_grad():
        assert torch.isfinite(small.eval()(case.images())).all()
