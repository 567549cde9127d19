"""Every criterion: one finite number a filter, the same again and in every engine, on every kind of group."""

from __future__ import annotations

import pickle
from functools import cache

import pytest
import torch

from raprune.engine import Engine
from raprune.engine.tasks import Importance
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import WeightsProbe
from raprune.registry import METHODS
from tests.engine.test_naive_is_exact import a_state, network_and_splits
from tests.tiny import engine_of

CRITERIA = [plugin.name for plugin in METHODS if isinstance(plugin.make, type) and issubclass(plugin.make, Criterion)]
FEW = {"num_images": 6, "samples_per_image": 4}
"""Values of those settings that a criterion has."""

every = pytest.mark.parametrize("name", CRITERIA)


@cache
def engine_for(case: str, naive: bool = False) -> Engine:
    """One for all tests: as in a study, no criterion leaves anything behind in it."""
    name, _, residual = case.partition(" ")
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    return engine_of(network, splits, 0, residual or "independent", score=score, naive=naive)


CASES = {
    "depthwise": ("one", "two"),
    "residual coupled": ("stem.0", "inner.0"),
    "residual independent": ("stem.0", "outer.0"),
    "unpooling": (),
    "vgg16": ("features.0", "features.40"),
    "cifar_resnet coupled": ("conv1", "layer1.0.conv1"),
    "cifar_resnet independent": ("conv1", "layer1.0.conv2"),
    "segnet": (),
}
"""Network and residual mode -> layers; the first and the last where there are none."""
WHOLE = {"vgg16", "cifar_resnet coupled", "cifar_resnet independent", "segnet"}
"""Whole networks, slow: their kinds of groups are those of the small ones before them."""
PARAMS = [pytest.param(case, marks=pytest.mark.slow) if case in WHOLE else case for case in CASES]


@pytest.fixture(scope="module", params=PARAMS)
def case(request: pytest.FixtureRequest) -> tuple[Engine, tuple[str, ...]]:
    engine = engine_for(request.param)
    groups = list(engine.graph.groups)
    return engine, CASES[request.param] or (groups[0], groups[-1])


def build(name: str) -> Criterion:
    known = METHODS.get(name).settings.model_fields
    criterion: Criterion = METHODS.build(name, {key: value for key, value in FEW.items() if key in known})
    return criterion


@every
def test_a_finite_number_for_each_filter_of_every_kind_of_group(
    name: str, case: tuple[Engine, tuple[str, ...]]
) -> None:
    engine, layers = case
    for state in (State.baseline("baseline"), a_state(engine)):
        for layer in [layer for layer in layers if layer not in state.cuts]:
            if name == "norm_scale" and layer == "two":
                continue  # no norm behind it
            before = state.version
            values, again = (Importance(layer, build(name)).run(engine, state) for _ in range(2))
            assert len(values) == engine.graph.group(layer).num_filters
            assert torch.tensor(values).isfinite().all()
            assert len(set(values)) > 1 or name == "hrank"  # whose maps may all have full rank
            assert values == again
            assert state.version == State(state.baseline_key, state.cuts, state.arrays).version == before


@every
def test_a_layer_that_is_already_cut_is_ranked_among_what_is_left(name: str) -> None:
    engine = engine_for("depthwise")
    mask = KeepMask.of(torch.arange(6) % 3 != 1)
    state = State.baseline("baseline").cut(engine.graph, "one", mask)
    values = Importance("one", build(name)).run(engine, state)
    assert len(values) == 4
    assert len(set(values)) > 1 or name == "hrank"


@every
def test_every_engine_computes_the_same(name: str) -> None:
    task = pickle.loads(pickle.dumps(Importance("one", build(name))))
    state = State.baseline("baseline")
    found = [task.run(engine_for("depthwise", naive=naive), state) for naive in (False, True)]
    assert found[0] == found[1]


@every
def test_it_sees_fine_tuned_weights(name: str) -> None:
    engine = engine_for("depthwise")
    state = State.baseline("baseline")
    changed = {name: t * (0.2 + 2 * torch.rand(t.shape)) for name, t in engine.weights.items() if t.dim()}
    tuned = state.trained({**engine.weights, **changed})
    score = engine.measure(state, "val")
    values, others = (Importance("one", build(name)).run(engine, one) for one in (state, tuned))
    assert values != others
    assert engine.measure(state, "val") == score


def test_a_float64_network_has_the_values_of_a_float32_one() -> None:
    engine = engine_for("vgg16")
    network = engine.traced.network
    assert next(network.parameters()).dtype == torch.float64
    single, splits = network_and_splits("vgg16")
    other = engine_of(single.float(), splits)
    for name in set(CRITERIA) - {"hrank", "thinet", "lasso", "entropy"}:  # whose values jump
        values, close = (
            Importance("features.40", build(name)).run(one, State.baseline("baseline")) for one in (engine, other)
        )
        assert values == pytest.approx(close, rel=2e-3, abs=1e-6), name


def test_those_of_weights_need_no_network() -> None:
    weights_NM = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    for name in ("magnitude", "l2", "fpgm"):
        assert build(name).importance(WeightsProbe("conv", weights_NM)).shape == (5,)
