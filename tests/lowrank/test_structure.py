"""Which layers can be factorised, and the networks, states and files that hold factors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from raprune.engine.kernels.program import compile_module
from raprune.engine.tasks import Energies, Factorise
from raprune.errors import ResultsError
from raprune.network.graph import trace
from raprune.network.lowrank import Factor, reasons_of, scheme_of, survey
from raprune.network.masks import KeepMask
from raprune.network.measure import count_bytes, count_macs, count_params
from raprune.network.state import State
from raprune.network.surgery import build
from raprune.registry import SCHEMES
from raprune.trial.snapshots import Snapshots
from tests.lowrank.networks import CONVS, LINEARS, around
from tests.tiny import Trained, engine_of, lively_vgg, own_labels


class OwnConv(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Odd(nn.Module):
    """A network of layers that cannot be factorised, and two that can."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.transposed = nn.ConvTranspose2d(8, 8, 3, padding=1)
        self.own = OwnConv(8, 8, 1)
        self.fixed = nn.Conv2d(8, 8, 1, bias=False)
        weight = self.fixed.weight.data
        del self.fixed.weight
        self.fixed.register_buffer("weight", weight)
        self.read = nn.Conv2d(8, 8, 1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(self.depthwise(self.grouped(self.plain(x))))
        x = self.read(self.fixed(self.own(x))) * self.read.weight.mean()
        return self.twice(torch.relu(self.twice(x)))


def test_what_cannot_be_factorised_is_told_by_name() -> None:
    reasons = reasons_of(trace(Odd(), (3, 9, 9)).network)
    assert {name: why["filter_basis"] for name, why in reasons.items()} == {
        "plain": None,
        "grouped": "it is a grouped convolution",
        "depthwise": "it is a depthwise convolution",
        "transposed": "it is a transposed convolution",
        "own": "it is a OwnConv, whose forward is its own",
        "fixed": "its weight is fixed",
        "read": "its weight is also read by itself",
        "twice": None,
    }
    assert reasons["plain"]["svd"] == "svd is for linear layers, 1x1 and kernels from 5x5 on, not 3x3"
    assert reasons["plain"]["response_svd"] is None


def whole(network: nn.Module) -> State:
    """The state of a network's own weights."""
    return State.baseline("b").trained(network.state_dict())


@torch.no_grad()
def test_a_layer_that_runs_twice_runs_as_a_pair_twice() -> None:
    traced = trace(Odd().double(), (3, 9, 9))
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    pair = scheme_of("filter_basis").decompose(traced.network.get_submodule("twice"), None).tensors(8)  # type: ignore[arg-type]
    state = whole(traced.network).factorised(traced.graph, {}, "twice", Factor("filter_basis", 8), pair)
    network = build(traced, {}, state.tensors(traced.graph, {}), state.factors)
    assert isinstance(network, fx.GraphModule)
    torch.testing.assert_close(network(images), traced.network(images), rtol=0, atol=1e-10)
    targets = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    assert targets[-4:] == ["twice.first", "twice.second"] * 2
    program = compile_module(network.eval())
    torch.testing.assert_close(program(images), traced.network(images), rtol=0, atol=1e-10)
    assert {of.conv for of in program.fused.values()} >= {"twice.first", "twice.second", "plain"}


@pytest.mark.parametrize("name", [*CONVS, *LINEARS])
def test_costs_are_those_of_the_network(name: str) -> None:
    layer = copy.deepcopy({**CONVS, **LINEARS}[name])
    traced, _ = around(layer)
    schemes = [scheme for scheme in SCHEMES.names() if scheme_of(scheme).problem(layer) is None]
    for scheme in schemes:
        found = {one.layer: one for one in survey(traced.network, [scheme], (3, 11, 11))}["layer"]
        assert found.costs is not None
        sizes = [_sizes(traced.network, (3, 11, 11))]
        for rank in {1, found.costs.full_rank}:
            pair = scheme_of(scheme).pair(layer, rank, torch.device("cpu"))
            network = copy.deepcopy(traced.network)
            network.add_submodule("layer", pair)
            sizes.append(_sizes(network, (3, 11, 11)))
            after, before = found.costs.at(rank), found.before
            saved = (before.params - after.params, before.macs - after.macs, before.model_bytes - after.model_bytes)
            assert saved == tuple(np.subtract(sizes[0], sizes[-1]))
        for rank in range(1, found.costs.full_rank + 1):
            after = found.costs.at(rank)
            saves = after.params < found.before.params and after.macs < found.before.macs
            assert saves is (rank <= found.costs.max_rank)
            assert (after.params <= 0.5 * found.before.params) is (rank <= found.costs.rank_for_ratio(0.5))


def _sizes(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, int, int]:
    return count_params(network), count_macs(network, shape), count_bytes(network)


def test_versions_of_states_without_factors_are_what_they_were() -> None:
    """Written down before there were factors: memos and snapshots on disk go on."""
    state = State("key", {"a": KeepMask(b"\1\0\1")}, {"w": np.arange(3, dtype=np.float32)})
    assert state.version == "f5ec57a38a00fd51"
    factors = [{"a": Factor("svd", 2)}, {"a": Factor("svd", 3)}, {"a": Factor("separable", 2)}, {"b": Factor("svd", 2)}]
    versions = {State("key", state.cuts, state.arrays, of).version for of in factors}
    assert len(versions | {state.version}) == 5


def test_an_engine_factorises_a_pruned_network(trained: Trained, tmp_path: Path) -> None:
    """Measured, fine-tuned, pickled and stored with its factors; a candidate of it is refused."""
    engine = engine_of(trained.network, trained.splits)
    mask = KeepMask.of(torch.arange(8) < 5)
    state = State.baseline("baseline").cut(engine.graph, "features.10", mask)
    score = engine.measure(state, "val")
    energies = Energies("features.14", "filter_basis", 1).run(engine, state)
    assert len(energies) == min(16, 5 * 9)
    exact = Factorise("features.14", Factor("filter_basis", 16), 1).run(engine, state)
    assert engine.measure(exact, "val") == score
    small = Factorise("classifier.0", Factor("response_svd", 4), 100).run(engine, exact)
    assert small.version == Factorise("classifier.0", Factor("response_svd", 4), 100).run(engine, exact).version
    assert small.version != Factorise("classifier.0", Factor("response_svd", 4), 101).run(engine, exact).version
    assert list(small.factors) == ["features.14", "classifier.0"]
    network = engine.build(small)
    assert network.get_submodule("classifier.0.first").out_features == 4
    assert network.get_submodule("features.14.first").in_channels == 5
    tuned = engine.finetune(small, "commit", small.version)
    assert tuned.factors == small.factors
    assert tuned.version not in (small.version, state.version)
    assert engine.measure(tuned, "val") > 50
    assert pickle.loads(pickle.dumps(tuned)).version == tuned.version
    snapshots = Snapshots(tmp_path, "baseline")
    snapshots.save(3, tuned, {})
    assert snapshots.load(3).version == tuned.version
    text = (tmp_path / "3.json").read_text()
    (tmp_path / "3.json").write_text(text.replace('"rank": 4', '"rank": 5'))
    with pytest.raises(ResultsError, match="has changed since it was written"):
        snapshots.load(3)
    with pytest.raises(ValueError, match="before layers are factorised"):
        tuned.cut(engine.graph, "features.0", KeepMask.whole(4))
    with pytest.raises(ValueError, match="before layers are factorised"):
        engine.evaluate_many(tuned, "features.0", [KeepMask.whole(4)], None, [None])


def test_engines_agree_on_factors_in_double_precision() -> None:
    network = lively_vgg(dtype=torch.float64)
    splits = own_labels(network, 80)
    exact, naive = engine_of(network, splits), engine_of(network, splits, naive=True)
    state = State.baseline("baseline")
    for layer, factor in (("features.24", Factor("separable", 12)), ("classifier.0", Factor("svd", 8))):
        state = Factorise(layer, factor, 1).run(exact, state)
    scores = [engine.measure(state, "val") for engine in (exact, naive)]
    assert scores[0] == scores[1] < 100
