"""What cannot be traced or followed: refused by name, or left whole on request."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.preflight.equivalence import prove
from tests.graph.small import chain, net


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


WHOLE = {
    "softmax over channels": (lambda s, a, b: torch.softmax(a, 1), "softmax", "it runs over channels or images"),
    "group norm": (lambda s, a, b: s.norm(a), "norm", "it is not known how"),
    "mean over channels": (lambda s, a, b: a.mean(1, keepdim=True), "mean", "it runs over channels or images"),
    "channels last": (
        lambda s, a, b: a.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
        "permute",
        "out of dimension 1",
    ),
    "two values": (lambda s, a, b: torch.where(a > 0, a, b), "gt", "it is not known how"),
    "bound by another value": (lambda s, a, b: torch.clamp(a, b), "clamp", "how it joins several values"),
}


@pytest.mark.parametrize("what", list(WHOLE))
def test_what_cannot_be_followed_is_left_whole_by_itself(what: str) -> None:
    between, node, why = WHOLE[what]
    network = net(between, norm=nn.GroupNorm(2, 4))
    graph = trace(network, (3, 8, 8)).graph
    assert "one" not in graph.groups
    assert re.match(rf"{node} \(.*{why}", graph.whole["one"])
    named = trace(network, (3, 8, 8), whole=[node]).graph
    assert f"{node}, which is left whole, reads it" in named.whole["one"]


def test_a_module_is_left_whole() -> None:
    network = chain(nn.Conv2d(3, 4, 3), Branching(), nn.Conv2d(3, 2, 1))
    network[1].conv = nn.Conv2d(4, 3, 3, padding=1)
    network[1].forward = lambda x: network[1].conv(x)
    with pytest.raises(
        InputError, match=r"nothing can be pruned:\n  0: Branching: its control flow .*: test_refusals.py:\d+: return"
    ):
        trace(chain(Branching()), (3, 8, 8))
    graph = trace(network, (3, 8, 8), whole=["1"]).graph
    assert graph.groups == {}
    with pytest.raises(InputError, match=r"no module or node 'l'.*"):
        trace(network, (3, 8, 8), whole=["l"])


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.one(x)
        return {"out": self.two(hidden), "hidden": hidden}


def test_one_of_several_outputs() -> None:
    with pytest.raises(InputError, match=r"several outputs \(out, hidden\): name one"):
        trace(Several(), (3, 8, 8))
    assert list(trace(Several(), (3, 8, 8), output="out").graph.groups) == ["one"]
    assert trace(Several(), (3, 8, 8), output="hidden").graph.groups == {}


class InPlace(nn.Module):
    """Uses a value again after it was changed in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.one, self.two, self.how = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), how
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.one(x)
        part = x[:, :, 1:]
        if self.how == "statement":
            x.mul_(-1)
        elif self.how == "module":
            self.relu(x)
        elif self.how == "sum":
            x += 1.0
            return self.two(x * y)
        elif self.how == "view":
            part.mul_(2)
        elif self.how == "base":
            x.mul_(2)
            return self.two(part)
        return self.two(x + x.relu_() if self.how == "alias" else x)


@pytest.mark.parametrize("how", ["statement", "alias", "module", "sum"])
def test_changes_in_place_are_followed(how: str) -> None:
    network, images = InPlace(how), torch.randn(2, 3, 8, 8)
    expected = network(images)
    traced = trace(network, (3, 8, 8))
    assert list(traced.graph.groups) == ["one"]
    torch.testing.assert_close(traced.network(images), expected)
    prove(traced, (3, 8, 8))


@pytest.mark.parametrize("how", ["view", "base"])
def test_a_network_that_relies_on_changes_of_a_view_is_refused(how: str) -> None:
    with pytest.raises(InputError, match=r"it changes a tensor in place .* under another name: test_refusals\.py:"):
        trace(InPlace(how), (3, 8, 8))


class Shared(nn.Module):
    """A norm and a linear layer that run on filters and on the input as well."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.one(x)).mean((2, 3))) + self.head(self.norm(x).mean((2, 3)))


def test_tensors_that_serve_channels_that_stay_stay() -> None:
    graph = trace(Shared(), (3, 8, 8)).graph
    assert graph.groups == {}
    assert "also used where channels stay" in graph.whole["one"]


def test_tied_weights_are_refused() -> None:
    network = chain(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    network[1].weight = network[0].weight
    with pytest.raises(InputError, match=r"1\.weight and 0\.weight are one tensor"):
        trace(network, (3, 8, 8))
    with pytest.raises(InputError, match="parametrised"):
        trace(chain(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3))), (3, 8, 8))


def test_images_that_do_not_fit_are_a_sentence() -> None:
    with pytest.raises(InputError, match=r"cannot take images of \(1, 8, 8\)"):
        trace(chain(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)), (1, 8, 8))


def test_a_librarys_network_is_named_by_its_own_file() -> None:
    """Also where the library's name begins as torch's does, and wherever the call came from."""
    torchvision = pytest.importorskip("torchvision")
    graph = trace(torchvision.models.convnext_tiny().eval(), (3, 32, 32)).graph
    places = ("misc.py:", "convnext.py:")
    assert all(any(place in reason for place in places) for reason in graph.reasons() if "permute" in reason)
    assert any("permute" in reason for reason in graph.reasons())
