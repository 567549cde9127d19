"""Forwards as people write them: control flow by shapes, optional arguments, containers, what is left whole."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.graph.modes import HIDDEN
from raprune.preflight.equivalence import prove


class Pair(NamedTuple):
    deep: Tensor
    shallow: Tensor


@dataclass
class Features:
    deep: Tensor
    shallow: Tensor
    scale: float = 2.0


class Written(nn.Module):
    """Three convolutions; what stands between the second and the third is given."""

    def __init__(self, between: Callable[..., Tensor]) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.steps = 2
        self.between = between

    def forward(self, x: Tensor, mask: Tensor | None = None, *rest: Tensor, features: bool = False, **more: Any) -> Any:
        assert x.shape[1] == 3, "colour images only"
        assert x.dim() == 4
        assert not rest
        assert not more
        if mask is not None:
            x = x * mask
        x = self.one(x)
        out = self.last(self.between(self, x, self.two(x)))
        return (out, x) if features else out


def of_shapes(s: Any, a: Tensor, b: Tensor) -> Tensor:
    n, c, h, w = a.shape
    if a.shape[2] > 3 and int(a.size(3)) == 8 and len(a) == n and h * w == math.prod(a.shape[-2:]):
        return a.reshape(n, c, h * w).reshape(n, -1, h, w)
    return b


def resized(s: Any, a: Tensor, b: Tensor) -> Tensor:
    small = F.avg_pool2d(a, 2)
    if small.shape[-2:] != b.shape[-2:]:
        small = F.interpolate(small, size=b.shape[-2:], mode="nearest")
    return small + F.interpolate(F.avg_pool2d(b, 2), scale_factor=b.shape[2] / (b.shape[2] // 2))


def flattened(s: Any, a: Tensor, b: Tensor) -> Tensor:
    batch = int(a.shape[0])
    return a.view(batch, 6, -1).view(batch, 6, 8, 8)


def listed(s: Any, a: Tensor, b: Tensor) -> Tensor:
    parts = [*a.split([2, 4], 1)]
    parts[1], parts[0] = parts[0], parts[1]
    return torch.cat(parts, dim=1)


def in_records(s: Any, a: Tensor, b: Tensor) -> Tensor:
    pair, record = Pair(a, b), Features(deep=a, shallow=b)
    named = OrderedDict(a=pair.deep, b=record.shallow)
    return sum(named.values(), torch.zeros(1)) * record.scale


def by_kind(s: Any, a: Any, b: Tensor) -> Tensor:
    if isinstance(a, Tensor):
        a = [a]
    assert not hasattr(b, "tensors")
    if hasattr(b, "size") and torch.is_tensor(b) and b.dtype.is_floating_point and b.device.type == "cpu":
        a.append(b)
    return torch.stack(a, 0).sum(0) if not a else a[0] + a[-1]


def in_steps(s: Any, a: Tensor, b: Tensor) -> Tensor:
    for step in range(s.steps):
        a = F.relu(a + step) if step % 2 else torch.add(a, b, alpha=1)
    return a


def of_new_tensors(s: Any, a: Tensor, b: Tensor) -> Tensor:
    zeros = torch.zeros(a.shape[0], 1, a.shape[2], a.shape[3])
    return a + zeros + torch.ones(a.size(0), 1, 1, 1)


def checkpointed(s: Any, a: Tensor, b: Tensor) -> Tensor:
    kept = checkpoint(s.norm, a, use_reentrant=False)
    return F.relu(kept + checkpoint(F.relu, b, use_reentrant=True))


def of_maxima(s: Any, a: Tensor, b: Tensor) -> Tensor:
    found = a.max(dim=3, keepdim=True)
    return b + found.values


def of_new_modules(s: Any, a: Tensor, b: Tensor) -> Tensor:
    return nn.Sequential(s.norm, nn.ReLU())(a) + nn.ModuleList([s.norm, s.last])[:1][0](b)


FORWARDS: dict[str, tuple[Callable[..., Tensor], set[str]]] = {
    "shapes": (of_shapes, {"one"}),
    "sizes": (resized, {"one", "two"}),
    "number of images": (flattened, {"one"}),
    "records": (in_records, {"one", "two"}),
    "isinstance": (by_kind, {"one", "two"}),
    "loops": (in_steps, {"one", "two"}),
    "new tensors": (of_new_tensors, {"one"}),
    "new modules": (of_new_modules, {"one"}),
    "checkpoints": (checkpointed, {"one", "two"}),
    "list of chunks": (listed, set()),
}  # fmt: skip


@pytest.mark.parametrize("what", list(FORWARDS))
def test_what_follows_from_shapes_is_traced(what: str) -> None:
    between, layers = FORWARDS[what]
    torch.manual_seed(0)
    network = Written(between)
    traced = trace(network, (3, 8, 8))
    assert layers <= set(traced.graph.groups)
    for images in (torch.randn(number, 3, 8, 8) for number in (1, 2, 5)):
        torch.testing.assert_close(traced.network(images), network.eval()(images))
    for seed in range(3):
        prove(traced, (3, 8, 8), seed)


@torch.jit.script  # type: ignore[untyped-decorator]
def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class Unseen(nn.Module):
    """Calls what torch cannot see into."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(6, 6, 3, padding=1), how
        self.scripted = torch.jit.script(nn.Sequential(nn.Conv2d(6, 6, 1)))

    def forward(self, x: Tensor) -> Any:
        if self.how == "scripted module":
            return self.scripted(x)
        return swish(x) if self.how == "scripted function" else torch.vmap(F.relu)(x)


@pytest.mark.parametrize("how", ["scripted module", "scripted function", "vmap"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_what_torch_does_not_show_never_becomes_a_constant(how: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), Unseen(how), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3))
    traced = trace(network, (3, 12, 12))
    assert list(traced.graph.groups) == ["2"]
    assert how == "scripted module" or HIDDEN in traced.graph.whole["1.conv"]
    images = torch.randn(4, 3, 12, 12)
    torch.testing.assert_close(traced.network(images), network.eval()(images))


class ByValue(nn.Module):
    """Cannot be traced."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(6, 6, 3, padding=1), how

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.how == "control flow":
            return x if x.mean() > 0 else -x
        if self.how == "item":
            return x * x.detach().abs().max().item()
        if self.how == "part":
            x[:, 0] = 0.0
        if self.how == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                return torch.matmul(x, x).float()
        return Doubled.apply(x) if self.how == "backward of its own" else x  # type: ignore[no-untyped-call]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 7


REASONS = {
    "control flow": "its control flow depends on the values of a tensor",
    "item": "it takes a value out of a tensor",
    "part": "it writes into a part of a tensor",
    "autocast": "it runs under torch.autocast",
    "backward of its own": "it calls Doubled, which has a backward of its own",
}


@pytest.mark.parametrize("how", list(REASONS))
def test_a_module_that_cannot_be_traced_is_left_whole_by_itself(how: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), ByValue(how), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), ByValue(how)
    )
    traced = trace(network, (3, 12, 12))
    assert list(traced.graph.groups) == ["2"]
    for name in ("1.conv", "5.conv"):
        said = traced.graph.whole[name]
        assert REASONS[how] in said
        assert "ByValue" in said
        assert "test_forwards.py:" in said
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(traced.network(images), network.eval()(images))


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 6, 3), ByValue("item")

    def forward(self, x: Tensor) -> Tensor:
        x = self.other(self.conv(x))
        return x if x.sum() > 0 else -x


def test_a_root_that_cannot_be_traced_is_refused_with_its_line_and_everything_else() -> None:
    with pytest.raises(InputError) as refused:
        trace(Deciding(), (3, 8, 8))
    said = str(refused.value)
    assert "its control flow depends on the values of a tensor: test_forwards.py:" in said
    assert "return x if x.sum() > 0 else -x" in said
    assert "other: ByValue: it takes a value out of a tensor" in said
    assert "move the code that cannot be traced into a module of its own" in said
    assert "torch/" not in said


class Gives(nn.Module):
    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.one, self.two, self.wrap = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), wrap

    def forward(self, x: Tensor) -> Any:
        x = self.one(x)
        return self.wrap(self.two(x), x)


class WithHead(Gives):
    def __init__(self, aux_logits: bool = True) -> None:
        super().__init__(lambda a, b: Pair(a, b) if self.training and aux_logits else a)


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (Pair, "deep"),
        (Pair, 0),
        (Features, "deep"),
        (lambda a, b: [a, b], 0),
        (lambda a, b: OrderedDict(x=a, y=b), "x"),
    ],
)
def test_outputs_in_containers(wrap: Any, output: str | int) -> None:
    network = Gives(wrap)
    assert list(trace(network, (3, 8, 8), output=output).graph.groups) == ["one"]
    with pytest.raises(InputError, match="several outputs"):
        trace(network, (3, 8, 8))


def test_outputs_in_training_alone() -> None:
    with pytest.raises(InputError, match=r"but only in training; .* build it with aux_logits=False"):
        trace(WithHead(), (3, 8, 8))
    assert trace(WithHead(aux_logits=False), (3, 8, 8)).graph.groups
