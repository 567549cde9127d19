"""What holds on a GPU: the processor's counts in float64, the float32 rule, results that follow from the mask alone.

``make gpu`` runs it; torch is enough, Ray is not needed.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.api import prune
from raprune.engine import Engine
from raprune.engine.agreement import check_agreement
from raprune.engine.approximate import ApproximateEngine
from raprune.engine.float32 import digits
from raprune.engine.launches import MASKS_A_LAUNCH
from raprune.engine.stacked import StackedEngine
from raprune.engine.stacking import stacked
from raprune.network.graph import trace
from raprune.network.state import State
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove
from raprune.study.fidelity import FidelitySpec
from tests.api.networks import FAST, User
from tests.engine.test_agreement import CHANGES, network
from tests.engine.test_naive_is_exact import RESIDUAL, a_state, masks, network_and_splits
from tests.engine.test_together import alone_and_together_agree, places_agree
from tests.tiny import engine_of, lively_vgg, own_labels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

STATE = State.baseline("baseline")


def engine(name: str, residual: str, device: str, steps: int = 0, **options: Any) -> Engine:
    net, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    return engine_of(net, splits, steps, residual, score=score, device=device, **options)


@pytest.mark.parametrize(("name", "residual"), RESIDUAL)
def test_counts_are_the_processors_in_float64(name: str, residual: str) -> None:
    gpu, naive = engine(name, residual, "cuda", stacked=True), engine(name, residual, "cuda", naive=True)
    cpu = engine(name, residual, "cpu")
    for state in (STATE, a_state(cpu)):
        layers = [layer for layer in cpu.graph.groups if layer not in state.cuts]
        for layer in layers:
            asked = masks(cpu, layer, 3)
            found = [scored.tally.counts for scored in gpu.evaluate_many(state, layer, asked, None, [None] * 3)]
            assert found == [naive.evaluate(state, layer, mask, None).tally.counts for mask in asked], layer
            expected = [cpu.evaluate(state, layer, mask, None).tally for mask in asked]
            assert all(tally.complete for tally in expected)
            assert found == [tally.counts for tally in expected], layer


@pytest.mark.parametrize(("name", "residual"), RESIDUAL)
def test_smaller_is_masked_on_the_gpu(name: str, residual: str) -> None:
    net, splits = network_and_splits(name)
    traced = trace(net.cuda(), splits.input_shape, residual=residual)
    assert all(parameter.is_cuda for parameter in traced.network.parameters())
    prove(traced, splits.input_shape)
    check_agreement(traced, torch.randn(2, *splits.input_shape, dtype=torch.float64, device="cuda"), MASKS_A_LAUNCH)


@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_the_proof_is_in_full_float32_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cuts some layers in the network's own precision; TF32 would be off by a thousandth."""
    net, splits = network_and_splits(name)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch has it
    prove(trace(net.float().cuda(), splits.input_shape), splits.input_shape)
    assert torch.backends.cudnn.allow_tf32


def test_float32_is_full_float32() -> None:
    """Rule 1: within 1e-5 of the largest logit, with TF32 off, which torch has on for convolutions by default."""
    net = lively_vgg(0.5)
    gpu, cpu = (engine_of(net, own_labels(net, 100), device=device) for device in ("cuda", "cpu"))
    images = cpu.as_input(cpu.splits.val.images_BCHW)
    with torch.inference_mode():
        for layer in list(cpu.graph.groups)[::4]:
            mask = masks(cpu, layer, 1)[0]
            state = STATE.cut(cpu.graph, layer, mask)
            here, there = cpu.forward(state)(images), gpu.forward(state)(images.cuda()).cpu()
            assert (here - there).abs().max() <= 1e-5 * here.abs().max()


def test_logits_do_not_depend_on_the_slot_or_the_other_masks() -> None:
    net = lively_vgg(0.5)
    several = engine_of(net, own_labels(net, 100), device="cuda", stacked=True)
    assert isinstance(several, StackedEngine)
    for layer in list(several.graph.groups)[:6]:
        halves = several._halves(STATE, layer)
        assert halves is not None
        asked = [mask.tensor for mask in masks(several, layer, MASKS_A_LAUNCH)]
        with torch.inference_mode():
            values = halves.prefix(several.as_input(several.splits.val.images_BCHW[:40]))
            together = stacked(halves, asked, MASKS_A_LAUNCH)(values)
            reverse = stacked(halves, asked[::-1], MASKS_A_LAUNCH)(values)[::-1]
            alone = [stacked(halves, [mask], MASKS_A_LAUNCH)(values)[0] for mask in asked]
        for one, two, three in zip(together, reverse, alone, strict=True):
            assert torch.equal(one, two)
            assert torch.equal(one, three)


@pytest.mark.parametrize(("name", "residual"), [pair for pair in RESIDUAL if pair[0] != "vgg16_imagenet"])
def test_fine_tuned_together_is_fine_tuned_alone(name: str, residual: str) -> None:
    alone_and_together_agree(name, residual, "cuda")


@pytest.mark.parametrize("width", [0.125, 0.5])
def test_weights_fine_tuned_together_do_not_depend_on_the_place_or_the_other_masks(width: float) -> None:
    net = lively_vgg(width)
    places_agree(net, own_labels(net, 100), "cuda", ["features.0", "features.10", "features.37"])


def test_draws_of_dropout_do_not_depend_on_the_place_either() -> None:
    """They are other ones than alone: torch draws for a stack by another algorithm."""
    net = nn.Sequential(*network(), nn.Dropout(0.5))
    places_agree(net, own_labels(lively_vgg(), 20), "cuda", ["0"])


@pytest.mark.skipif(not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] < 8, reason="has no TF32")
@pytest.mark.parametrize("steps", [0, 3])
def test_tf32_is_for_candidates_alone(steps: int) -> None:
    """TF32 changes logits by about a thousandth; what is measured stays in full float32."""
    net = lively_vgg(0.5)
    full = engine_of(net, own_labels(net, 100), steps, device="cuda")
    fast = ApproximateEngine(replace(full.workload, fidelity=FidelitySpec(precision="tf32")), "cuda")
    layer = "features.10"
    mask = masks(full, layer, 1)[0]
    seen: list[Tensor] = []
    counts = fast.score.counts
    for one in (full, fast):
        one.score.counts = lambda logits, labels: (seen.append(logits.clone()), counts(logits, labels))[1]  # type: ignore[method-assign]
        one.evaluate(STATE, layer, mask, None)
    exact, rounded = torch.cat(seen[: len(seen) // 2]), torch.cat(seen[len(seen) // 2 :])
    difference = (exact - rounded).abs().max() / exact.abs().max()
    assert difference > 1e-5
    assert steps or difference < 5e-2
    assert fast.candidate(STATE, layer, mask).version == full.candidate(STATE, layer, mask).version
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("steps", [0, 5])
def test_the_same_request_gives_the_same_bits(steps: int) -> None:
    net = lively_vgg(0.25)
    splits = own_labels(net, 100)
    found = []
    for _ in range(2):
        gpu = engine_of(net, splits, steps, device="cuda", stacked=True)
        layer = "features.10"
        asked = masks(gpu, layer, 5)
        tallies = [scored.tally for scored in gpu.evaluate_many(STATE, layer, asked, None, [None] * 5)]
        tuned = gpu.finetune(STATE.cut(gpu.graph, layer, asked[0]), "commit", "seed")
        found.append((tallies, tuned.version))
    assert found[0] == found[1]


@pytest.mark.parametrize("resize", [nn.Upsample(size=23, mode="bilinear"), nn.AdaptiveAvgPool2d(5)], ids=["up", "pool"])
def test_training_a_network_that_resizes_gives_the_same_bits(resize: nn.Module) -> None:
    """Unless asked otherwise, torch adds the gradients of interpolation in no fixed order on a GPU."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        resize,
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    splits, found = own_labels(lively_vgg(), 20), set()
    for _ in range(3):
        gpu = engine_of(net, splits, device="cuda")
        found.add(gpu.finetune(STATE.cut(gpu.graph, "0", masks(gpu, "0", 1)[0]), "commit", "seed").version)
    assert len(found) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_hooks_run_on_the_gpu(change: Any) -> None:
    net = network()
    change(net)
    traced = trace(net.cuda(), (3, 32, 32))
    images = torch.randn(4, 3, 32, 32, device="cuda")
    check_agreement(traced, images, MASKS_A_LAUNCH)
    small = shrink(traced, {"0": torch.arange(8) < 5})
    assert small(images).isfinite().all()


def test_memory_is_freed() -> None:
    def allocated() -> int:
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    def use() -> None:
        net = lively_vgg(0.25)
        one = engine_of(net, own_labels(net, 100), device="cuda", stacked=True)
        for layer in list(one.graph.groups)[:3]:
            one.evaluate_many(STATE, layer, masks(one, layer, 3), None, [None] * 3)

    use()
    before = allocated()
    for _ in range(3):
        use()
    assert allocated() <= before


def test_prune_runs_on_the_gpu_and_leaves_torch_as_it_was(user: User) -> None:
    def flags() -> tuple[Any, ...]:
        drawn = torch.cuda.get_rng_state().tolist()
        return digits(), torch.backends.cudnn.deterministic, torch.are_deterministic_algorithms_enabled(), drawn

    torch.cuda.manual_seed(5)
    before = flags()
    found = prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, **FAST)
    assert found.report.row["device"] == torch.cuda.get_device_name()
    with torch.no_grad():
        images: Tensor = user.val[0]
        net: nn.Module = found.network
        score = 100.0 * float((net(images).argmax(1) == user.val[1]).double().mean())
    assert score == pytest.approx(found.report.val_score, abs=0.51)
    assert flags() == before
