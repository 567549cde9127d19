"""Which training steps may be recorded, and that gradients are those of one batch. What a GPU does: tests/gpu."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torchvision.models import resnet18

from raprune.engine import captured
from raprune.engine.captured import Gradients, is_steady
from raprune.engine.weight_stack import stack_of, summed
from raprune.network.graph import trace
from raprune.registry import SCORES
from tests.engine.test_naive_is_exact import RESIDUAL, network_and_splits
from tests.tiny import lively_vgg

LOSS = SCORES.build("top1_accuracy", {}).loss


class Moody(nn.Module):
    """Does something else after some calls, which only Python counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return values * 2 if self.calls > 1000 else values


def own_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels) * random.choice([1.0, 2.0])


def chain(middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def hooked(add: Callable[[nn.Module], object]) -> nn.Sequential:
    network = chain(nn.ReLU())
    add(network[1])
    return network


@pytest.mark.parametrize(("name", "residual"), RESIDUAL)
def test_the_networks_that_come_with_raprune_do_the_same_in_every_step(name: str, residual: str) -> None:
    network, splits = network_and_splits(name)
    traced = trace(network, splits.input_shape, residual=residual)
    score = SCORES.build("top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy", {})
    assert is_steady(network, score.loss)
    assert is_steady(traced.network, score.loss)
    cuts = [{layer: torch.ones(group.num_filters, dtype=torch.bool) for layer, group in traced.graph.groups.items()}]
    stack = stack_of(traced.network, traced.graph, {}, cuts, list(traced.graph.groups.values()))
    assert is_steady(stack, summed(score.loss))


@pytest.mark.parametrize(
    "network", [resnet18(), chain(nn.Dropout(0.5)), chain(weight_norm(nn.Conv2d(6, 6, 1)))],
    ids=["torchvision", "dropout", "weight_norm"],
)  # fmt: skip
def test_torchs_own_modules_do_the_same_in_every_step(network: nn.Module) -> None:
    assert is_steady(network, LOSS)


@pytest.mark.parametrize(
    "network",
    [
        chain(Moody()),
        chain(nn.BatchNorm2d(6, momentum=None)),  # reads its count of batches
        hooked(lambda module: module.register_forward_hook(lambda *_: None)),
        hooked(lambda module: module.register_full_backward_hook(lambda *_: None)),
        hooked(lambda module: setattr(module, "forward", lambda values: values)),
    ],
    ids=["own", "counts", "hook", "backward_hook", "method"],
)
def test_what_may_do_something_else_is_not_recorded(network: nn.Module) -> None:
    assert not is_steady(network, LOSS)
    assert not is_steady(trace(network, (3, 8, 8), whole=["1"]).network, LOSS)


def test_a_hook_on_a_parameter_or_a_loss_of_the_users_is_not_recorded() -> None:
    network = chain(nn.ReLU())
    assert not is_steady(network, own_loss)
    assert not is_steady(network, summed(own_loss))
    next(network.parameters()).register_hook(lambda gradient: gradient)
    assert not is_steady(network, LOSS)


def test_gradients_are_those_of_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "FEWEST", 0)  # there is nothing to record on a processor
    network = lively_vgg()
    gradients = Gradients(network, LOSS, 10)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        images, labels = torch.randn(3, 3, 32, 32, generator=generator), torch.tensor([1, 2, 3])
        loss = gradients((images,), labels)
        assert not loss.requires_grad
        found = [parameter.grad for parameter in network.parameters()]
        expected = torch.autograd.grad(LOSS(network(images), labels), list(network.parameters()))
        assert all(map(torch.equal, found, expected))
