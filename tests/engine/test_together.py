"""``fidelity: {together: S}``: candidates fine-tuned together are those fine-tuned alone, whatever is beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.engine import open_engine, weight_stack
from raprune.engine.base import Engine
from raprune.engine.together import TogetherEngine
from raprune.engine.train import Recipe
from raprune.engine.weight_stack import Stack, check_stack
from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.plugins.datasets.base import Split, Splits
from raprune.registry import SCORES
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec
from tests.engine.test_fidelities import spec
from tests.engine.test_naive_is_exact import RESIDUAL, a_state, masks, network_and_splits
from tests.tiny import engine_of

BASE = State.baseline("baseline")
SLOTS = 3


def together_of(alone: Engine, slots: int = SLOTS) -> TogetherEngine:
    """The engine of the same network, data and device that fine-tunes ``slots`` masks together."""
    return TogetherEngine(replace(alone.workload, fidelity=FidelitySpec(together=slots)), str(alone.device))


class Counts(nn.Module):
    """Reads a value of its input, which cannot be done for several networks at once."""

    def forward(self, values: Tensor) -> Tensor:
        return values * (1.0 if float(values.detach().sum()) < 1e9 else 2.0)


def small(middle: nn.Module) -> nn.Module:
    """A network with random weights that are large enough for every channel to matter."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), middle, nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    return network


def small_splits() -> Splits:
    images = torch.randint(0, 256, (48, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(48) % 10)
    return Splits(split, split, None, 10, (0.5,) * 3, (0.25,) * 3)


def alone_and_together_agree(name: str, residual: str, device: str) -> None:
    """In float64, counts after a fine-tune are equal."""
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    alone = engine_of(network, splits, 3, residual, score=score, device=device)
    together = together_of(alone)
    state = a_state(alone)
    layer = next(layer for layer in alone.graph.groups if layer not in state.cuts)
    asked = masks(alone, layer, SLOTS + 1)
    found = [scored.tally for scored in together.evaluate_many(state, layer, asked, None, [None] * len(asked))]
    assert found == [alone.evaluate(state, layer, mask, None).tally for mask in asked]


def places_agree(network: nn.Module, splits: Splits, device: str, layers: Sequence[str]) -> None:
    """In float32, the weights of a mask have the same bits in any place, beside any masks, and without others."""
    together = together_of(engine_of(network, splits, 3, device=device))
    for layer in layers:
        asked = masks(together, layer, SLOTS)
        tuned = together._tune(BASE, layer, asked)
        reverse = together._tune(BASE, layer, asked[::-1])
        for mask in asked:
            alone = together._tune(BASE, layer, [mask])
            for name, tensor in tuned[mask].items():
                assert torch.equal(tensor, reverse[mask][name]), name
                assert torch.equal(tensor, alone[mask][name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "residual"), RESIDUAL)
def test_together_is_alone_in_float64(name: str, residual: str) -> None:
    alone_and_together_agree(name, residual, "cpu")


def test_weights_do_not_depend_on_the_place_or_the_other_masks() -> None:
    places_agree(small(nn.BatchNorm2d(6)), small_splits(), "cpu", ["0", "3"])


def test_a_request_may_have_any_number_of_masks() -> None:
    together, layer = together_of(engine_of(small(nn.Dropout(0.3)), small_splits(), 3, batch_size=10)), "0"
    asked = masks(together, layer, SLOTS + 2)
    found = [scored.tally for scored in together.evaluate_many(BASE, layer, asked, None, [None] * len(asked))]
    assert [together.evaluate(BASE, layer, mask, None).tally for mask in asked] == found
    assert len({tally.highest for tally in found}) > 1
    given_up = together.evaluate_many(BASE, layer, asked, 99.0, [None] * len(asked))
    assert [scored.score for scored in given_up] == [None] * len(asked)
    resumed = together.evaluate_many(
        BASE, layer, asked, None, [None if s.tally.complete else s.tally for s in given_up]
    )
    assert [scored.tally for scored in resumed] == found
    assert any(0 < scored.images_scored < 48 for scored in resumed)


def test_one_layer_or_all_may_be_cut_at_once() -> None:
    alone, layer = engine_of(small(nn.BatchNorm2d(6)).double(), small_splits(), 3), "3"
    together = open_engine(replace(alone.workload, fidelity=FidelitySpec(together=SLOTS)), "cpu", EvaluatorsSpec())
    assert type(together) is TogetherEngine
    state = BASE.cut(alone.graph, "0", masks(alone, "0", 1)[0])
    asked = masks(alone, layer, 2)
    found = together.evaluate_many(state, layer, asked, None, [None] * 2)
    assert [s.tally for s in found] == [alone.evaluate(state, layer, mask, None).tally for mask in asked]
    number = sum(group.num_filters for group in alone.graph.groups.values())
    generator = torch.Generator().manual_seed(0)
    asked = [KeepMask.of(torch.rand(number, generator=generator) < 0.8) for _ in range(2)]
    found = together.evaluate_many(BASE, ALL_LAYERS, asked, None, [None] * 2)
    assert [s.tally for s in found] == [alone.evaluate(BASE, ALL_LAYERS, mask, None).tally for mask in asked]


def test_what_is_not_used_leaves_ids_as_they_were() -> None:
    """Those of results that are older than the setting."""
    assert (spec().trial_id, spec(racing=3.0).trial_id) == ("f999bc60b6a1", "8b17d670e06c")
    assert "together" not in FidelitySpec(racing=3.0).model_dump(mode="json")
    assert FidelitySpec(together=2).model_dump()["together"] == 2


def check(network: nn.Module) -> None:
    traced = trace(network, (3, 12, 12), whole=("1",) if isinstance(network[1], Counts) else ())  # type: ignore[index]
    loss_of = SCORES.build("top1_accuracy", {}).loss
    check_stack(traced, small_splits(), loss_of, Recipe(0.01, 0.9, 0.0, 16, "linear"), SLOTS)


def test_what_cannot_be_stacked_is_refused() -> None:
    check(small(nn.BatchNorm2d(6)))
    for middle in (Counts(), nn.BatchNorm2d(6, momentum=None)):
        with pytest.raises(InputError, match=r"cannot be fine-tuned together .*leave fidelity\.together out"):
            check(small(middle))


def test_places_are_compared_in_the_precision_of_the_fine_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU may compute slots alike in full precision and not in TF32."""
    monkeypatch.setattr("raprune.engine.approximate.check_precisions", lambda *of: None)
    seen, compare = [], weight_stack._Check.in_places

    def in_places(self: weight_stack._Check, num_slots: int) -> str | None:
        seen.append(torch.backends.cudnn.allow_tf32)
        return compare(self, num_slots)

    monkeypatch.setattr(weight_stack._Check, "in_places", in_places)
    workload = engine_of(small(nn.BatchNorm2d(6)), small_splits(), 3).workload
    for precision in ("tf32", "full"):
        fidelity = FidelitySpec.model_validate({"together": SLOTS, "precision": precision})
        TogetherEngine(replace(workload, fidelity=fidelity))
    assert seen == [True, False]


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_stack, "summed", lambda loss_of: lambda out, labels: loss_of(out.mean(0), labels))
    with pytest.raises(InputError, match=r"gets another 0\.weight"):
        check(small(nn.BatchNorm2d(6)))


def test_a_device_on_which_places_differ_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    forward: Callable[..., Any] = Stack.forward

    def rounded(self: Stack, images: Tensor) -> Tensor:
        """As rounding that depends on the slot would do; only in the network's own precision."""
        outputs: Tensor = forward(self, images)
        slots = torch.arange(self.num_slots, dtype=outputs.dtype).view(-1, 1, 1)
        return outputs if outputs.dtype is torch.float64 else outputs * (1 + 1e-6 * slots)

    monkeypatch.setattr(Stack, "forward", rounded)
    with pytest.raises(InputError, match=r"on this device a candidate's .* depends on its place"):
        check(small(nn.BatchNorm2d(6)))
