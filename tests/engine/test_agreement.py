"""The fast engine computes the network: hooks run, opaque modules write into nothing of ours, differences are named."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from raprune.engine import Engine, approximate, exact, split
from raprune.engine.agreement import check_agreement
from raprune.engine.kernels import convolutions, program
from raprune.engine.kernels.program import compile_module
from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.graph.plain import is_altered, is_plain, may_write, written_inputs
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits
from raprune.study.fidelity import FidelitySpec
from tests.tiny import engine_of

Change = Callable[[nn.Sequential], None]


def network(*, norm: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3, padding="valid"), nn.Flatten(),
        nn.Linear(6 * 13 * 13, 10),
    )  # fmt: skip
    return net.eval()


def clip(module: nn.Module, given: Any, out: Tensor) -> Tensor:
    """As activation clipping does it."""
    return out.clamp(-0.1, 0.1)


def halve(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value / 2 for value in given)


def quantise(module: nn.Module, given: Any, out: Tensor) -> Tensor:
    """As simulated quantisation does it."""
    return (out * 8).round() / 8


def own_forward(net: nn.Sequential) -> None:
    relu = net[2]
    relu.forward = lambda values: values.clamp(0, 0.2)  # type: ignore[method-assign]


CHANGES: dict[str, Change] = {
    "hook on a convolution": lambda net: net[0].register_forward_hook(clip),  # type: ignore[dict-item]
    "hook on a norm": lambda net: net[1].register_forward_hook(clip),  # type: ignore[dict-item]
    "hook on a ReLU": lambda net: net[4].register_forward_hook(quantise),  # type: ignore[dict-item]
    "hook before a convolution": lambda net: net[3].register_forward_pre_hook(halve),  # type: ignore[dict-item]
    "hook before a norm": lambda net: net[1].register_forward_pre_hook(halve),  # type: ignore[dict-item]
    "hook before a ReLU": lambda net: net[4].register_forward_pre_hook(halve),  # type: ignore[dict-item]
    "forward of one module": own_forward,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_module_does_beside_its_layer_is_computed(change: Change) -> None:
    net, plain = network(), network()
    change(net)
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        expected = net(images)
        assert not torch.allclose(expected, plain(images), atol=1e-3)
        traced = trace(net, (3, 32, 32))
        assert torch.allclose(compile_module(traced.network)(images), expected, atol=1e-5)
        check_agreement(traced, images)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_candidates_of_a_network_with_hooks_score_as_on_the_plain_network(change: Change) -> None:
    net = network().double()
    change(net)
    splits = random_images(60)
    fast, naive = engine_of(net, splits), engine_of(net, splits, naive=True)
    state = State.baseline("baseline")
    for layer, group in fast.graph.groups.items():
        mask = KeepMask.of(torch.arange(group.num_filters) % 2 == 0)
        assert fast.evaluate(state, layer, mask, None).score == naive.evaluate(state, layer, mask, None).score


def test_hooks_that_torch_runs_for_all_modules_count() -> None:
    relu = nn.ReLU()
    assert is_plain(relu, nn.ReLU)
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, out: None)
    try:
        assert not is_plain(relu, nn.ReLU)
    finally:
        handle.remove()
    assert not is_altered(relu)


def random_images(number: int, *, floats: bool = False) -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (number,), generator=generator)
    if floats:
        channels_last = (images.double() / 128 - 1).contiguous(memory_format=torch.channels_last)
        return Splits(*[Split(channels_last.clone(), labels)] * 3, 10)
    return Splits(*[Split(images, labels)] * 3, 10, (0.5,) * 3, (0.25,) * 3)


class AddsInPlace(nn.Module):
    """What raprune does not look into, and what writes into what it reads."""

    def forward(self, values: Tensor, more: Tensor | None = None) -> Tensor:
        return values.add_(0.3 if more is None else more)


class Opaque(nn.Module):
    """Such a module before the first convolution, and one whose input crosses from below a layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.sum = AddsInPlace(), AddsInPlace()
        self.one, self.two, self.three = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8 * 15 * 15, 10)

    def forward(self, values: Tensor) -> Tensor:
        values = self.one(self.before(values))
        values = self.sum(values, self.three(torch.relu(self.two(values))))
        return self.head(nn.functional.max_pool2d(values, 2).flatten(1))


WHOLE = ("before", "sum")


@pytest.mark.parametrize("fidelity", [None, FidelitySpec(finetune="recalibrate")], ids=["full", "recalibrated"])
def test_what_a_whole_module_writes_into_is_a_copy(fidelity: FidelitySpec | None) -> None:
    net, splits = Opaque().double().eval(), random_images(60, floats=True)
    before = splits.val.images_BCHW.clone()
    fast: Engine = engine_of(net, splits, whole=WHOLE)
    if fidelity is not None:
        fast = approximate.ApproximateEngine(replace(fast.workload, fidelity=fidelity), "cpu")
    state, naive = State.baseline("baseline"), engine_of(net, splits, whole=WHOLE, naive=True)
    assert list(fast.graph.groups) == ["two"]
    for number in (8, 4):
        mask = KeepMask.of(torch.arange(8) < number)
        assert {fast.evaluate(state, "two", mask, None).score for _ in range(3)} == {
            naive.evaluate(state, "two", mask, None).score
        }
    assert torch.equal(splits.val.images_BCHW, before)


def test_an_engine_that_drops_a_hook_is_found_and_the_node_named(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    net[4].register_forward_hook(clip)
    traced = trace(net, (3, 32, 32))
    monkeypatch.setattr(program, "is_plain", lambda module, kind: type(module) is kind)
    with pytest.raises(InputError, match=r"does not compute this network: node _4 returns values that differ by up to"):
        check_agreement(traced, torch.randn(2, 3, 32, 32))


def test_a_fault_that_shows_in_a_cut_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = convolutions.FusedConv.narrowed

    def wrong(conv: Any, channels: Tensor | None, filters: Tensor | None) -> Any:
        return own(conv, None if channels is None else channels.flip(0), filters)

    monkeypatch.setattr(convolutions.FusedConv, "narrowed", wrong)
    with pytest.raises(InputError, match=r"with 0 cut: node _3|with 0 cut: node _4"):
        engine_of(network(), random_images(60))


def test_a_writer_that_is_not_known_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "written_inputs", lambda root, graph: set())
    with pytest.raises(InputError, match="changes its input in place"):
        engine_of(Opaque(), random_images(60), whole=WHOLE)


def test_every_exact_engine_compares_itself_before_it_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    monkeypatch.setattr(exact, "check_agreement", lambda traced, images, slots: compared.append(slots))
    for stacked in (False, True):
        engine_of(network(), random_images(60), stacked=stacked)
    assert len(compared) == 2
    assert compared[1] > compared[0] == 1


class Functions(nn.Module):
    """In place by name, by operator, by argument."""

    def forward(self, one: Tensor, two: Tensor, three: Tensor, four: Tensor, five: Tensor) -> Tensor:
        viewed = one.flatten(1).transpose(0, 1)
        viewed.mul_(2)
        torch.add(three, 1, out=three)
        nn.functional.relu(four, inplace=True)
        return one + two + three + four + torch.relu(five)


def test_writers_are_found_through_views() -> None:
    module = Functions()
    graph = fx.symbolic_trace(module).graph
    values = {node.name: node for node in graph.nodes}
    with graph.inserting_before(values["add"]):
        graph.call_function(operator.setitem, (values["two"], 0, 1.0))
    assert written_inputs(module, graph) == {"one", "two", "three", "four"}
    writers = [node.name for node in graph.nodes if may_write(module, node)]
    assert len(writers) == 4
