"""What a model's function may return: wrapped networks are unwrapped, unusable ones cause an error message."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from raprune.engine.inputs import Inputs
from raprune.engine.workload import trace_model
from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.study.schema import ModelChoice
from tests.graph.small import chain

SHAPE = (1, 8, 8)


def plain() -> nn.Module:
    return chain(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


def averaged() -> nn.Module:
    return AveragedModel(plain())


def parallel() -> nn.Module:
    return nn.DataParallel(plain())


def compiled() -> object:
    return torch.compile(plain())


def scripted() -> object:
    return torch.jit.script(plain())


def half() -> nn.Module:
    return plain().half()


def on_meta() -> nn.Module:
    return plain().to("meta")


def lazy() -> nn.Module:
    return chain(nn.Conv2d(1, 4, 3), nn.LazyConv2d(2, 1))


def nothing() -> object:
    return {"net": plain()}


def choice(name: str) -> ModelChoice:
    return ModelChoice(name=f"{__name__}:{name}", settings={})


@pytest.fixture(autouse=True)
def _any_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """These functions take none of what a model's function is given."""
    for name in ("averaged", "parallel", "compiled", "scripted", "half", "on_meta", "nothing"):
        own = globals()[name]
        monkeypatch.setitem(globals(), name, lambda own=own, **given: own())


@pytest.mark.parametrize("name", ["averaged", "parallel", "compiled"])
def test_wrapped_networks_are_taken_out(name: str) -> None:
    network = Inputs().network(choice(name), 2, SHAPE)
    assert list(network.state_dict()) == list(plain().state_dict())
    assert list(trace_model(network, choice(name), SHAPE).graph.groups) == ["0"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("half", r"must be float32 or float64, use model\.float\(\); got torch\.float16"),
        ("on_meta", r"0\.weight, 0\.bias, 2\.weight, 2\.bias: on the meta device, without values"),
        ("scripted", "a scripted network cannot be traced; pass the nn.Module from which it was scripted"),
        ("nothing", "must be a torch.nn.Module; got dict"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_what_cannot_be_used_is_a_sentence(name: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^model {__name__}:{name}: {said}"):
        trace_model(Inputs().network(choice(name), 2, SHAPE), choice(name), SHAPE)


def test_lazy_layers_without_a_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"1\.weight, 1\.bias: a lazy layer without a size"):
        trace(lazy(), SHAPE)


def test_networks_of_several_types_are_traced() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.two(self.one(x).double())
            return x

    network = Mixed()
    traced = trace(network, SHAPE)
    images = torch.randn(2, *SHAPE)
    assert torch.equal(traced.network(images), network(images))
