"""The engine's savings are exact: cache, early exit and order of the images change no result."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from raprune.engine import Engine
from raprune.network.graph import Align
from raprune.network.graph.modes import WideDropout
from raprune.network.graph.plain import may_write
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.network.surgery import refillable, shrink
from tests.engine.test_naive_is_exact import network_and_splits
from tests.tiny import Trained, engine_of, lively_vgg, own_labels

LAYER = "features.14"


def masks(number: int, num_filters: int = 16) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(3)
    found = torch.rand(number, num_filters, generator=generator) < 0.7
    found[:, 0] = True
    return [KeepMask.of(mask) for mask in found]


def correct_by_hand(engine: Engine, mask: KeepMask) -> float:
    """The masked network on the whole split, by plain means."""
    network = shrink(engine.traced, {LAYER: mask.tensor})
    val = engine.splits.val
    mean = torch.tensor(engine.splits.mean).view(1, -1, 1, 1)
    std = torch.tensor(engine.splits.std).view(1, -1, 1, 1)
    with torch.no_grad():
        logits = network((val.images_BCHW.float() / 255 - mean) / std)
    return 100 * float((logits.argmax(1) == val.labels_B).double().mean())


def test_scores_are_those_of_the_smaller_network(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    state = State.baseline("baseline")
    scores = [engine.evaluate(state, LAYER, mask, None).score for mask in masks(8)]
    assert scores == pytest.approx([correct_by_hand(engine, mask) for mask in masks(8)], abs=1e-9)
    assert len(set(scores)) > 2


def test_cache_is_bitwise_neutral(trained: Trained) -> None:
    cached = engine_of(trained.network, trained.splits, cache_gib=1.0)
    bare = engine_of(trained.network, trained.splits, cache_gib=0.0)
    state = State.baseline("baseline")
    for mask in masks(4):
        one, other = cached.evaluate(state, LAYER, mask, None), bare.evaluate(state, LAYER, mask, None)
        assert (one.score, one.images_scored) == (other.score, other.images_scored)
    assert cached.store.num_bytes > 0
    assert bare.store.num_bytes == 0


def test_cache_stays_within_its_size(trained: Trained) -> None:
    small = engine_of(trained.network, trained.splits, cache_gib=0.004)
    state = State.baseline("baseline")
    for layer in ("features.0", "features.7", LAYER, "features.24", "features.34"):
        num_filters = small.graph.group(layer).num_filters
        small.evaluate(state, layer, KeepMask.of(torch.arange(num_filters) > 0), None)
        assert small.store.num_bytes <= 0.004 * 2**30
    assert small.store.num_bytes > 0


def test_early_exit_is_exact(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    state = State.baseline("baseline")
    saved = 0
    for mask in masks(12):
        full = engine.evaluate(state, LAYER, mask, None)
        for lowest in (50.0, 90.0, 99.0, full.score):
            found = engine.evaluate(state, LAYER, mask, lowest)
            assert found.score == (full.score if full.score >= lowest else None)
            saved += full.images_scored - found.images_scored
    assert saved > 0


def test_the_most_fragile_images_come_first(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    val = engine.splits.val
    with torch.no_grad():
        margins = engine.score.margins(engine.traced.network(engine.as_input(val.images_BCHW)), val.labels_B)[
            engine._order
        ]
    assert float(margins.diff().min()) >= -1e-4
    assert margins[0] < margins[-1]
    assert sorted(engine._order.tolist()) == list(range(len(val)))


def test_candidates_of_one_state_share_their_draws(trained: Trained) -> None:
    """Common random numbers: seeded by the parent state, whatever the mask; another parent, other draws."""
    engine = engine_of(trained.network, trained.splits, before_reward=3)
    parent = State.baseline("baseline")
    mask = masks(1)[0]
    first, again = (engine.candidate(parent, LAYER, mask) for _ in range(2))
    assert first.version == again.version
    cut = parent.cut(engine.graph, LAYER, mask)
    assert len({engine.finetune(cut, "commit", seeded_by).version for seeded_by in (parent.version, cut.version)}) == 2
    one, two = (engine.evaluate(parent, LAYER, mask, None).score for _ in range(2))
    assert one == two == engine.measure(first, "val")


def test_finetune_leaves_the_baseline_alone(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    state = State.baseline("baseline")
    before = engine.measure(state, "val")
    tuned = engine.finetune(state, "commit", state.version)
    assert tuned.version != state.version
    assert engine.measure(state, "val") == before
    assert all(torch.equal(engine.weights[name], t) for name, t in trained.network.state_dict().items())


def test_no_steps_give_the_same_state() -> None:
    engine = engine_of(network := lively_vgg(), own_labels(network, 40))
    state = State.baseline("baseline")
    assert engine.finetune(state, "final", state.version) is state


def test_a_state_is_its_content(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    parent, mask = State.baseline("baseline"), masks(1)[0]
    early = engine.finetune(parent, "commit", "seed").cut(engine.graph, LAYER, mask)
    again = engine.finetune(parent, "commit", "seed").cut(engine.graph, LAYER, mask)
    assert early.version == again.version != parent.cut(engine.graph, LAYER, mask).version
    assert parent.cut(engine.graph, LAYER, mask).version != parent.cut(engine.graph, LAYER, KeepMask.whole(16)).version
    with pytest.raises(ValueError, match="is already cut"):
        early.cut(engine.graph, LAYER, mask)


@pytest.mark.parametrize("residual", ["independent", "coupled"])
@pytest.mark.parametrize("name", ["residual", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_a_network_used_again_is_as_good_as_a_fresh_one(name: str, residual: str) -> None:
    """Candidates of a residual network, of several layers and states, each on an engine of its own and all on one."""
    network, splits = network_and_splits(name)
    network.float()

    def fresh() -> Engine:
        return engine_of(network, splits, 3, residual)

    one, state = fresh(), State.baseline("baseline")
    layers = list(one.graph.groups)
    first = KeepMask.of(torch.arange(one.graph.group(layers[0]).num_filters) > 0)
    trained = one.finetune(state.cut(one.graph, layers[0], first), "commit", "x")
    for of, some in ((state, layers[1:2]), (trained, (layers[-1], layers[1])), (state, layers[1:2])):
        for layer in some:
            mask = KeepMask.of(torch.arange(one.graph.group(layer).num_filters) % 3 != 1)
            alone, cut = fresh(), of.cut(one.graph, layer, mask)
            built = alone.build(cut).state_dict()
            assert one.evaluate(of, layer, mask, None).tally == alone.evaluate(of, layer, mask, None).tally
            again = one.scratch(cut).state_dict()
            assert all(torch.equal(tensor, again[name]) for name, tensor in built.items())


class Counts(torch.nn.Module):
    """A user's module with a memory of its own, left whole."""

    calls = 0

    def forward(self, values_BC: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return values_BC


def test_only_networks_without_hidden_memory_are_used_again(trained: Trained) -> None:
    traced = engine_of(trained.network, trained.splits).traced
    assert refillable(traced.network)
    for stranger in (Counts(), torch.nn.Identity()):
        stranger.register_buffer("seen", torch.zeros(1), persistent=False)
        network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), stranger)
        assert not refillable(network)
    assert not refillable(torch.nn.Sequential(Counts()))


def test_what_ours_is_does_not_hang_on_a_module_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving a folder changes nothing; a user's subclass of ours is a stranger wherever it is."""
    users = type("Users", (Align,), {"__module__": Align.__module__})
    monkeypatch.setattr(Align, "__module__", "elsewhere")
    for module, is_ours in ((Align(), True), (WideDropout(0.5, 4, False), True), (users(), False)):
        assert refillable(torch.nn.Sequential(module)) is is_ours
        graph = fx.Graph()
        called = graph.call_module("0", (graph.placeholder("values"),))
        assert may_write(torch.nn.Sequential(module), called) is not is_ours
