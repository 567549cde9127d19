"""What a trace misses although its outputs agree: modes, gradients, hooks, state."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import random_cuts
from tests.graph.small import chain


class Frozen(nn.Module):
    """Keeps a norm's statistics, a block's dropout and a stem's weights as they are, in the usual ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem, self.norm, self.drop = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5)
        self.body, self.last, self.how = nn.Conv2d(6, 6, 3), nn.Conv2d(6, 2, 1), how
        if how == "parameters":
            self.stem.requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        self.drop.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        return self.drop(F.dropout(F.relu(self.norm(self.stem(x))), 0.5, self.norm.training))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.features(x)
        elif self.how == "set_grad_enabled":
            with torch.set_grad_enabled(not self.training and torch.is_grad_enabled()):
                x = self.features(x)
        else:
            x = self.features(x)
        if self.how == "detach":
            x = x.detach()
        return self.last(F.relu(self.body(x)))


def fine_tune(network: nn.Module) -> dict[str, Tensor]:
    """The state dict after a few steps."""
    network.train()
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1, 0.9, weight_decay=0.1)
    torch.manual_seed(0)
    for images in torch.randn(3, 4, 1, 8, 8):
        optimiser.zero_grad()
        network(images).square().mean().backward()
        optimiser.step()
    return network.eval().state_dict()


@pytest.mark.parametrize("how", ["no_grad", "set_grad_enabled", "parameters", "detach"])
@pytest.mark.parametrize("form", ["traced", "copied", "pickled", "smaller"])
def test_what_is_frozen_stays_so_in_fine_tunes(how: str, form: str) -> None:
    torch.manual_seed(0)
    network = Frozen(how)
    fine_tune(network)
    traced = trace(copy.deepcopy(network), (1, 8, 8))
    forms: dict[str, Callable[[], nn.Module]] = {
        "traced": lambda: traced.network,
        "copied": lambda: copy.deepcopy(copy.deepcopy(traced.network)),
        "pickled": lambda: copy.deepcopy(pickle.loads(pickle.dumps(traced.network))),
        "smaller": lambda: shrink(traced, random_cuts(traced.graph, torch.Generator().manual_seed(0))),
    }
    module = forms[form]()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    after = fine_tune(module)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {"body.weight", "body.bias", "last.weight", "last.bias"} | (
        set() if how != "parameters" else {"norm.weight", "norm.bias"}
    )
    if form != "smaller":
        for name, tensor in fine_tune(network).items():
            torch.testing.assert_close(after[name], tensor)


class WithState(nn.ReLU):
    """Has more state than tensors."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.counts, self.runs = counts, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += self.counts and self.training
        return super().forward(x)

    def get_extra_state(self) -> Any:
        return {"runs": self.runs}

    def set_extra_state(self, state: Any) -> None:
        self.runs = state["runs"]


def test_extra_state_is_carried_along_or_refused() -> None:
    odd = WithState(counts=False)
    odd.runs = 5
    traced = trace(chain(nn.Conv2d(1, 4, 3), odd, nn.Conv2d(4, 2, 1)), (1, 8, 8), whole=["1"])
    assert all(isinstance(value, Tensor) for value in traced.network.state_dict().values())
    again = copy.deepcopy(traced.network)
    again.load_state_dict(traced.network.state_dict())
    assert again.get_submodule("1").runs == 5  # type: ignore[comparison-overlap]
    with pytest.raises(InputError, match=r"1: its extra state changes in training"):
        trace(chain(nn.Conv2d(1, 4, 3), WithState(counts=True), nn.Conv2d(4, 2, 1)), (1, 8, 8))


class Counting(nn.Module):
    """Changes a buffer or a parameter in its forward."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(4, 4, 1), how
        self.factor = nn.Parameter(torch.full((1,), 0.9))
        self.register_buffer("mean", torch.zeros(4))
        self.mean: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.training:
            mean = x.detach().mean((0, 2, 3))
            if self.how == "replaced":
                self.mean = 0.9 * self.mean + 0.1 * mean
            elif self.how == "in place":
                self.mean.add_(mean)
            elif self.how == "in part":
                self.mean[1:] = 1.0
            elif self.how == "copied":
                self.mean.copy_(mean)
            else:
                self.factor.data.clamp_(max=0.1)
        return (x - self.mean[:, None, None]) * self.factor


@pytest.mark.parametrize("how", ["replaced", "in place", "in part", "copied", "parameter"])
def test_a_forward_that_changes_its_tensors_is_left_whole(how: str) -> None:
    network = chain(nn.Conv2d(1, 4, 3), nn.ReLU(), Counting(how), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    traced = trace(network, (1, 8, 8))
    assert list(traced.graph.groups) == ["3"]
    assert "its forward changes" in traced.graph.whole["2.conv"]
    after = traced.network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    name = "2.factor" if how == "parameter" else "2.mean"
    traced.network.train()(torch.randn(2, 1, 8, 8))
    assert not torch.equal(traced.network.state_dict()[name], before[name])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


@pytest.mark.parametrize("on", ["", "1", "2", "2.conv"])
def test_hooks_are_part_of_the_network(on: str) -> None:
    network = chain(nn.Conv2d(1, 4, 3), chain(nn.Conv2d(4, 4, 1), nn.ReLU()), Block(), nn.Conv2d(4, 2, 1))
    network.get_submodule(on).register_forward_hook(lambda m, inputs, output: output.clamp(max=0.1) * 2)
    network.get_submodule(on).register_forward_pre_hook(lambda m, inputs: (inputs[0] + 1,))
    traced = trace(network, (1, 8, 8))
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(traced.network(images), network.eval()(images))


def test_hooks_that_no_copy_has_are_refused() -> None:
    network = chain(nn.Conv2d(1, 4, 3), Block(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    hook = network.get_parameter("1.conv.weight").register_hook(lambda gradient: gradient * 0)
    with pytest.raises(InputError, match=r"1\.conv\.weight: hooks of a parameter are lost"):
        trace(network, (1, 8, 8))
    hook.remove()
    network.get_submodule("1").register_full_backward_hook(lambda m, into, out: (into[0] * 0,))
    traced = trace(network, (1, 8, 8))
    assert traced.graph.whole["1.conv"].startswith("1 is left whole (Block: it has backward hooks")


class Hooking(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient * 0)
        return x


def test_hooks_of_values_are_left_in_their_modules() -> None:
    traced = trace(chain(nn.Conv2d(1, 4, 3), Hooking(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)), (1, 8, 8))
    assert "it calls .register_hook of a tensor" in traced.graph.whole["1.conv"]
    traced.network.train()(torch.randn(2, 1, 8, 8)).sum().backward()
    assert float(traced.network.get_parameter("1.conv.weight").grad.abs().sum()) == 0.0  # type: ignore[union-attr]


class Called(nn.Module):
    """Does more when it is called than its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def __call__(self, x: Tensor) -> Any:
        return super().__call__(x) * 3

    def forward(self, x: Tensor) -> Any:
        return self.conv(x)


def test_calls_of_their_own() -> None:
    network = chain(nn.Conv2d(1, 4, 3), Called(), nn.Conv2d(4, 2, 1))
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(trace(network, (1, 8, 8)).network(images), network(images))

    class Scaled(nn.Conv2d):
        def __call__(self, x: Tensor) -> Any:
            return super().__call__(x) * 3

    with pytest.raises(InputError, match=r"1: Scaled has a __call__ of its own"):
        trace(chain(nn.Conv2d(1, 4, 3), Scaled(4, 4, 1), nn.Conv2d(4, 2, 1)), (1, 8, 8))


class Lively(nn.Module):
    """Stays in training mode whatever is said."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> Lively:
        super().train(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x)


def test_a_network_that_cannot_leave_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"1, 1\.drop: still in training mode after eval\(\)"):
        trace(chain(nn.Conv2d(1, 4, 3), Lively(), nn.Conv2d(4, 2, 1)), (1, 8, 8))
