"""Networks in unusual forms (wrapped, pruned before, frozen), and calls from threads or under global switches."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from raprune.api import Pruned, load_pruned, prune
from raprune.errors import InputError
from tests.api.networks import FAST, SmallNet, User

ONE = {**FAST, "layers": ["body.3"], "drop_bound": 20.0}


@pytest.fixture(scope="module")
def plain(user: User) -> Pruned:
    return prune(user.model, user.train, user.val, **ONE)


def alike(one: Pruned, other: Pruned) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True))


@contextlib.contextmanager
def default_device() -> Any:
    with torch.device("meta"):
        yield


@contextlib.contextmanager
def default_dtype() -> Any:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": default_device,
    "default dtype": default_dtype,
}


@pytest.mark.parametrize("what", list(AROUND))
def test_what_is_switched_on_around_the_call_changes_nothing(user: User, plain: Pruned, what: str) -> None:
    with AROUND[what]():
        found = prune(user.model, user.train, user.val, **ONE)
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    assert alike(found, plain)
    assert (grad, inference) == (what not in ("no_grad", "inference_mode"), what == "inference_mode")


def test_networks_and_data_of_inference_mode(user: User, plain: Pruned) -> None:
    with torch.inference_mode():
        model = copy.deepcopy(user.model)
        train, val = ((images.clone(), labels.clone()) for images, labels in (user.train, user.val))
    assert alike(prune(model, train, val, **ONE), plain)


def test_threads(user: User, plain: Pruned) -> None:
    """Dropout draws from torch's generator, which all threads share."""
    torch.manual_seed(0)
    other = nn.Sequential(copy.deepcopy(user.model.body), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    other.append(copy.deepcopy(user.model.head))
    options = {**ONE, "layers": ["0.3"]}
    alone = prune(other, user.train, user.val, **options)
    calls = [(user.model, ONE), (other, options)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda call: prune(call[0], user.train, user.val, **call[1]), calls))
    assert all(alike(one, expected) for one, expected in zip(found, [plain, alone], strict=True))


def test_the_network_comes_back_as_it_was(user: User) -> None:
    model = copy.deepcopy(user.model).train()
    model.head.eval()
    model.body[0].weight.requires_grad_(False)
    seen: list[Any] = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(type(output)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prune(model, user.train, user.val, **ONE)
    assert [module.training for module in (model, model.body, model.head)] == [True, True, False]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["body.0.weight"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert set(vars(model)) == set(vars(user.model))
    model(user.val[0][:2])
    assert seen[-1] is Tensor


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "averaged": AveragedModel,
    "parallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model),  # type: ignore[dict-item, return-value]
    "both": lambda model: nn.DataParallel(AveragedModel(model)),
}


SLOW = [pytest.param(how, marks=pytest.mark.slow) for how in ("averaged", "parallel")]  # one inside the other: "both"


@pytest.mark.parametrize("how", [*SLOW, "compiled", "both"])
def test_wrapped_networks(user: User, plain: Pruned, how: str) -> None:
    model = WRAPPED[how](copy.deepcopy(user.model))
    assert alike(prune(model, user.train, user.val, **ONE), plain)


UNUSABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "half": (lambda: SmallNet().half(), r"use model\.float\(\); got torch\.float16"),
    "bfloat16": (lambda: SmallNet().bfloat16(), r"use model\.float\(\); got torch\.bfloat16"),
    "meta": (lambda: SmallNet().to("meta"), r"body\.0\.weight.*on the meta device"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), r"0\.weight, 0\.bias: a lazy layer without a size"),
    "scripted": (lambda: torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3))), "a scripted network cannot be traced"),
    "a function": (lambda: lambda images: images, "must be a torch.nn.Module; got function"),
}


@pytest.mark.parametrize("what", list(UNUSABLE))
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_networks_that_cannot_be_used_are_a_sentence(user: User, what: str) -> None:
    make, said = UNUSABLE[what]
    with pytest.raises(InputError, match=f"^model: .*{said}"):
        prune(make(), user.train, user.val, **ONE)


def test_prune_again(user: User) -> None:
    torch.manual_seed(0)
    options = {**FAST, "drop_bound": 30.0}
    first = prune(Residual(user.model), user.train, user.val, **options)
    second = prune(first.network, user.train, user.val, **options)
    assert second.report.params < first.report.params
    again = load_pruned(second.trial_dir, first.network)
    assert torch.equal(again(user.val[0]), second.network(user.val[0]))


class Residual(nn.Module):
    """The user's network with a sum and a dropout."""

    def __init__(self, model: SmallNet) -> None:
        super().__init__()
        self.model, self.drop = copy.deepcopy(model), nn.Dropout(0.1)
        self.one, self.two = nn.Conv2d(1, 24, 3, 2, 2), nn.Conv2d(24, 24, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.one(images))[:, :, :2, :2] * 0.1
        x = self.model.body(images) + self.drop(x + self.two(x))
        logits: Tensor = self.model.head(x.mean((2, 3)))
        return logits


class Held(SmallNet):
    """Keeps its norm's statistics, and its first weights, as they are."""

    def train(self, mode: bool = True) -> Held:
        super().train(mode)
        self.body[1].eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            images = self.body[0](images)
        return self.head(self.body[1:](images).mean((2, 3)))


APPROXIMATE = [pytest.param({"finetune": kind}, marks=pytest.mark.slow) for kind in ("suffix", "recalibrate")]


@pytest.mark.parametrize("fidelity", [{}, *APPROXIMATE])
def test_what_is_frozen_stays_so(user: User, fidelity: dict[str, Any]) -> None:
    model = Held()
    model.load_state_dict(user.model.state_dict())
    options = {**FAST, "drop_bound": 20.0, "finetune": {"before_reward": {"steps": 3}, "after_layer": {"steps": 3}}}
    found = prune(model, user.train, user.val, layers=["body.3"], fidelity=fidelity, **options)
    small = found.network.state_dict()
    for name in ("body.0.weight", "body.0.bias", "body.1.running_mean", "body.1.running_var"):
        assert torch.equal(small[name], model.state_dict()[name])
    assert not torch.equal(small["head.bias"], model.state_dict()["head.bias"])
    for network in (found.network, load_pruned(found.trial_dir, model), copy.deepcopy(found.network)):
        network.train()(user.val[0][:8])
        assert torch.equal(network.state_dict()["body.1.running_mean"], model.body[1].running_mean)
