"""What a criterion sees of a layer: gates are keep masks, and nothing is left changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.engine import Engine
from raprune.engine.contributions import sampled
from raprune.engine.probe import NetworkProbe
from raprune.errors import InputError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.probe import WeightsProbe
from tests.engine.test_naive_is_exact import RESIDUAL, SMALL, a_state, network_and_splits
from tests.tiny import engine_of

SOME = 8
"""Training images that are enough here."""


def engine_for(name: str, residual: str = "independent") -> Engine:
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    return engine_of(network, splits, 0, residual, score=score, naive=True)


def outputs(probe: NetworkProbe, gates_1N: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([probe._gated.gated(values, gates_1N) for values, _ in probe._below(SOME)])


WHOLE = [pytest.param(*of, marks=pytest.mark.slow) for of in RESIDUAL]
"""Whole networks: the small ones have the same kinds of groups."""


@pytest.mark.parametrize(("name", "residual"), [*SMALL, ("vgg16", "independent"), *WHOLE[1:]])
def test_a_closed_gate_is_a_pruned_filter(name: str, residual: str) -> None:
    engine = engine_for(name, residual)
    state = a_state(engine)
    images = torch.cat([images for images, _ in engine.train_sample(SOME, "criterion")])
    for layer in [layer for layer in engine.graph.groups if layer not in state.cuts][::2]:
        probe = NetworkProbe(engine, state, layer)
        mask = torch.arange(probe.num_filters) % 3 != 1
        small = engine.build(state.cut(engine.graph, layer, KeepMask.of(mask)))
        with torch.no_grad():
            expected = small(images)
        torch.testing.assert_close(outputs(probe, mask.double()[None]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "layer", "residual"),
    [("vgg16", "features.40", "independent"), ("residual", "outer.0", "independent"),
     ("residual", "stem.0", "coupled"), ("unpooling", "first", "independent"),
     pytest.param("resnet18", "layer1.0.conv2", "independent", marks=pytest.mark.slow),
     pytest.param("resnet18", "conv1", "coupled", marks=pytest.mark.slow),
     pytest.param("segnet", "first", "independent", marks=pytest.mark.slow)],
)  # fmt: skip
def test_gradients_are_slopes(name: str, layer: str, residual: str) -> None:
    engine = engine_for(name, residual)
    layer = layer if layer in engine.graph.groups else next(iter(engine.graph.groups))
    probe = NetworkProbe(engine, State.baseline("baseline"), layer)
    ((_, labels),) = engine.train_sample(SOME, "criterion", SOME)
    step, gates_1N = 1e-6, torch.ones(1, probe.num_filters, dtype=torch.float64)
    gradients_IN = probe.gate_gradients(SOME)
    assert gradients_IN.shape == (SOME, probe.num_filters)
    steepest = int(gradients_IN.mean(0).abs().argmax())

    def loss(gate: float) -> float:
        changed = gates_1N.clone()
        changed[0, steepest] = gate
        return float(engine.score.loss(outputs(probe, changed), labels))

    slope = (loss(1 + step) - loss(1 - step)) / (2 * step)
    assert float(gradients_IN[:, steepest].mean()) == pytest.approx(slope, rel=1e-4)
    squared_NM, gradient_NM = probe.squared_weight_gradients(SOME), probe.weight_gradients(SOME)
    assert squared_NM.shape == gradient_NM.shape == probe.weights_NM.shape
    assert (squared_NM >= gradient_NM.square() * (1 - 1e-9)).all()  # the mean of squares


def test_the_engine_stays_as_it_is() -> None:
    engine = engine_for("resnet18", "coupled")
    state = State.baseline("baseline")
    before = {name: t.clone() for name, t in engine.built(state).network.state_dict().items()}
    probe = NetworkProbe(engine, state, "conv1")
    probe.gate_gradients(8)
    probe.squared_weight_gradients(2)
    probe.ablations(4)
    for tensors in (engine.built(state).network, engine.traced.network, probe._network):
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.state_dict().items())
    assert all(p.grad is None for p in probe._network.parameters())


def test_responses_are_what_the_activation_function_returns() -> None:
    engine = engine_for("vgg16")
    network = engine.built(State.baseline("baseline")).network
    seen: list[Tensor] = []
    network.get_submodule("features.42").register_forward_hook(lambda _m, _i, out: seen.append(out))
    probe = NetworkProbe(engine, State.baseline("baseline"), "features.40")
    (found,) = probe.responses(lambda values_BNHW: values_BNHW.amax((2, 3)), SOME)
    for images, _ in engine.train_sample(SOME, "criterion"):
        network(images)
    torch.testing.assert_close(found, torch.cat(seen).amax((2, 3)))
    assert torch.cat(seen).shape[2:] == (2, 2)  # before the pooling and flattening between it and its reader


READERS: list[nn.Module] = [
    nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, dilation=2, groups=2), nn.Conv2d(4, 2, 1),
    nn.Conv2d(4, 3, 3, padding="same", padding_mode="reflect"),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_contributions_add_up_to_responses_of_the_reader(reader: nn.Conv2d) -> None:
    value = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reader = reader.double()
    with torch.no_grad():
        values_SC, norms_C = sampled(reader, value, 50, torch.Generator().manual_seed(1))
        assert reader.bias is not None
        all_responses = (reader(value) - reader.bias[None, :, None, None]).flatten()
        for channel in range(4):  # the norm is the root of the sum of squares of what a unit impulse gives
            impulse = torch.zeros(1, 4, 9, 9, dtype=torch.float64)
            impulse[0, channel, 4, 4] = 1
            given = F.conv2d(impulse, reader.weight, padding=4, dilation=reader.dilation, groups=reader.groups)
            assert float(norms_C[channel]) == pytest.approx(float(given.norm()))
    distances_S = (values_SC.sum(1)[:, None] - all_responses).abs().amin(1)
    assert float(distances_S.max()) < 1e-10
    assert len(values_SC.sum(1).unique()) > 20


def test_linear_layers_and_sums_have_contributions() -> None:
    value = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        values_SC, norms_C = sampled(linear, value, 6, torch.Generator().manual_seed(1))
        responses = (linear(value) - linear.bias).double()
    assert all(float((responses - total).abs().min()) < 1e-6 for total in values_SC.sum(1))
    torch.testing.assert_close(norms_C, linear.weight.detach().double().norm(dim=0))
    maps = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    values_CC, norms_C = sampled(None, maps, 6, torch.Generator())
    assert torch.equal(values_CC, values_CC.diag().diag())
    assert float(values_CC.diag()[2].square()) == pytest.approx(3 * 6 / 4 * float(maps[:, 2].square().mean()), rel=1e-5)
    assert norms_C.tolist() == [1.0] * 4


def test_only_weights_at_hand() -> None:
    with pytest.raises(InputError, match=r"only the weights of features\.0 are at hand"):
        WeightsProbe("features.0", torch.ones(2, 3)).gate_gradients(4)


def test_a_layer_without_a_norm_has_no_scales() -> None:
    engine = engine_for("vgg16_imagenet")
    with pytest.raises(InputError, match=r"no norm scales the filters of features\.0, which this criterion needs"):
        NetworkProbe(engine, State.baseline("baseline"), "features.0").norm_scales()
