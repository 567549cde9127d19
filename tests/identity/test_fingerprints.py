"""Fingerprints of values and networks: equal for what computes the same, different for what does not."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import Compose, Pad

from raprune.identity import alike, of_structure, of_tensors, of_value, probe
from raprune.network.graph import trace

BASE = """
import functools
import math

LIMIT = 3

def helper(x, by=2):
    return [x * by + one for one in range(LIMIT)]

class Base:
    SCALE = 1.5
    def scaled(self, x):
        return x * self.SCALE

@functools.lru_cache
def cached(x):
    return x + 1

class Score(Base):
    def __init__(self, depth=1):
        self.depth = depth
    @property
    def twice(self):
        return 2 * self.depth
    def value(self, x):
        def inner(y):
            return math.floor(y) + 1
        return inner(self.scaled(x)) + len(helper(x)) + cached(x)

def make():
    return Score()
"""
SAME = {
    "a comment": ("LIMIT = 3", "# three\nLIMIT = 3"),
    "a docstring": ("def helper(x, by=2):", 'def helper(x, by=2):\n    """Says."""'),
    "a docstring of a class": ("class Base:", 'class Base:\n    """Says."""'),
    "a local's name": (
        "def inner(y):\n            return math.floor(y)",
        "def inner(z):\n            return math.floor(z)",
    ),
    "an annotation": ("def scaled(self, x):", "def scaled(self, x: float) -> float:"),
    "another function": ("def make", "def other():\n    return 7\n\ndef make"),
}
OTHER = {
    "a constant": ("LIMIT = 3", "LIMIT = 4"),
    "a default": ("by=2", "by=3"),
    "a class's constant": ("SCALE = 1.5", "SCALE = 2.5"),
    "an attribute": ("depth=1", "depth=2"),
    "a property": ("2 * self.depth", "3 * self.depth"),
    "an inner function": ("math.floor(y) + 1", "math.floor(y) + 2"),
    "another library's function": ("math.floor", "math.ceil"),
    "a cached function": ("return x + 1", "return x + 2"),
    "a comprehension": ("x * by + one", "x * by - one"),
}


@pytest.fixture
def fingerprint_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The fingerprint of what ``make`` of a module's text gives."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))

    def find(text: str) -> str:
        (tmp_path / "made_up.py").write_text(text)
        sys.modules.pop("made_up", None)
        importlib.invalidate_caches()
        return of_value(importlib.import_module("made_up").make())

    return find


@pytest.mark.parametrize("case", [*SAME, *OTHER])
def test_code_is_what_it_does(case: str, fingerprint_of: Callable[[str], str]) -> None:
    old, new = {**SAME, **OTHER}[case]
    assert old in BASE
    assert (fingerprint_of(BASE) == fingerprint_of(BASE.replace(old, new))) is (case in SAME)


def test_it_is_the_same_in_every_process(tmp_path: Path, fingerprint_of: Callable[[str], str]) -> None:
    here = fingerprint_of(BASE)
    code = "import sys, made_up; sys.dont_write_bytecode = True; from raprune.identity import of_value; "
    code += "print(of_value(made_up.make()), of_value({'b', 'a', 'c'}))"
    root = str(Path(__file__).resolve().parents[2])
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # other than in this process
    environment = {"PYTHONPATH": f"{tmp_path}:{root}", "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert said == [here, of_value({"a", "b", "c"})]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), ("1", 1), ((1,), [1]), ({"a": 1}, {"a": 2}), ({1, 2}, {1, 3}), (None, "None"),
        (torch.zeros(2), torch.zeros(1, 2)), (torch.zeros(2), torch.zeros(2).double()), (torch.float32, torch.float64),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (Compose([Pad(1)]), Compose([Pad(2)])), (nn.ReLU, nn.ReLU6), (max, min), ([[]], [[], []]),
    ],
)  # fmt: skip
def test_values_differ(one: Any, other: Any) -> None:
    assert of_value(one) == of_value(one)
    assert of_value(one) != of_value(other)


def test_equal_parts_may_be_one_object_or_several() -> None:
    part = (1, [2])
    assert of_value(part, part, {"a": part}) == of_value((1, [2]), (1, [2]), {"a": (1, [2])})


def test_what_holds_itself_has_one_too() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert of_value(loop) == of_value(loop)


class Net(nn.Module):
    """Every part of it can be changed."""

    def __init__(self, act: nn.Module | None = None, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4, **settings)
        self.act = act or nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.norm(self.conv(x))).mean((2, 3)))


class Renamed(Net):
    """The same, in other words."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.conv(images))
        return self.head(self.act(features).mean((2, 3)))


class Kept(nn.Module):
    """Its settings are in no repr."""

    def __init__(self, slope: float = 0.1) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)


class Stateful(nn.ReLU):
    """Says what it is in its extra state."""

    said: Any = ()

    def get_extra_state(self) -> Any:
        return self.said

    def set_extra_state(self, state: Any) -> None:
        self.said = state


def hooked() -> Net:
    network = Net()
    network.conv.register_forward_hook(lambda module, given, out: out * 2)
    return network


def stateful(limit: int) -> Net:
    network = Net(Stateful())
    network.act.said = {"limit": limit}  # type: ignore[assignment]
    return network


def structure(network: nn.Module, whole: tuple[str, ...] = ()) -> str:
    return of_structure(trace(network, (1, 8, 8), whole=whole).network)


def test_a_network_is_what_it_computes() -> None:
    assert structure(Net()) == structure(Renamed())
    made = [structure(Net()), structure(Net(nn.Tanh())), structure(Net(eps=0.1)), structure(Net(momentum=0.3))]
    made += [structure(hooked()), structure(Net(nn.LeakyReLU(0.1))), structure(Net(nn.LeakyReLU(0.2)))]
    made += [structure(Net(Kept(slope)), whole=("act",)) for slope in (0.1, 0.2)]
    made += [structure(stateful(limit), whole=("act",)) for limit in (6, 7)]
    assert len(set(made)) == len(made)
    changed = Net()
    with torch.no_grad():
        changed.conv.weight += 1
    assert structure(changed) == structure(Net())
    assert of_tensors(changed.state_dict()) != of_tensors(Net().state_dict()) == of_tensors(Renamed().state_dict())


def test_a_probe_tells_networks_apart_that_cannot_be_compared_otherwise() -> None:
    probes = [probe(Net(act).eval(), (1, 8, 8)) for act in (nn.ReLU(), nn.Tanh(), nn.LeakyReLU(0.1), nn.GELU())]
    for number, one in enumerate(probes):
        assert [alike(one, other) for other in probes] == [place == number for place in range(len(probes))]
    assert alike([1.0, 2.0], [1.00001, 2.0])
    assert not alike([1.0], [1.0, 2.0])
