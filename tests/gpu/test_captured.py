"""A training step that is replayed gives what it gives launch by launch, to the last bit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raprune.engine import captured, training_file
from raprune.engine.arithmetic import exact_arithmetic, same_arithmetic
from raprune.engine.captured import Gradients, Recording
from raprune.engine.train import Recipe, train
from raprune.engine.training_file import TrainingFile
from raprune.engine.weight_stack import stack_of, summed
from raprune.network.graph import trace
from raprune.network.surgery import shrink
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.registry import SCORES
from tests.engine.test_naive_is_exact import RESIDUAL, network_and_splits
from tests.engine.test_training_file import network_of
from tests.tiny import lively_vgg, own_labels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

CUDA = torch.device("cuda")
STEPS = 14
RECIPE = Recipe(0.01, 0.9, 0.001, 24, "one_cycle")
"""Of 64 images, each third batch has 16 only."""


@pytest.fixture(autouse=True)
def _as_engines_compute() -> Iterator[None]:
    with same_arithmetic():
        exact_arithmetic(CUDA)
        yield


@contextmanager
def counted_replays() -> Iterator[list[int]]:
    replays, real = [0], Recording.replay

    def replay(self: Recording, inputs: tuple[Tensor, ...], labels_B: Tensor) -> Tensor:
        replays[0] += 1
        return real(self, inputs, labels_B)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Recording, "replay", replay)
        yield replays


def on_gpu(splits: Splits) -> Splits:
    def moved(split: Split) -> Split:
        return Split(split.images_BCHW.to(CUDA), split.labels_B.to(CUDA))

    parts = {name: moved(split) for name, split in (("train", splits.train), ("val", splits.val))}
    augment = shift_and_flip(2, flip=True) if splits.train.labels_B.dim() == 1 else splits.augment
    return replace(splits, **parts, augment=augment)


def trained(
    network: nn.Module, splits: Splits, monkeypatch: pytest.MonkeyPatch, replays: bool, file: TrainingFile | None = None
) -> dict[str, Tensor]:
    score = SCORES.build("top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy", {})
    network = network.to(CUDA, memory_format=torch.channels_last)
    with monkeypatch.context() as patched, counted_replays() as number:
        if not replays:
            patched.setattr(captured, "FEWEST", 10**9)
        assert train(network, splits, score, RECIPE, STEPS, seed=1, file=file)
    assert (number[0] > 0) == replays
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []


@pytest.mark.parametrize(("name", "residual"), [pair for pair in RESIDUAL if pair[0] != "vgg16_imagenet"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_replaying_gives_the_bits_of_launching(
    name: str, residual: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network that is left out enlarges maps by average pooling, whose gradient torch adds in no fixed order."""
    net, splits = network_and_splits(name)
    traced = trace(net.to(dtype), splits.input_shape, residual=residual)
    mask = {layer: torch.arange(group.num_filters) % 3 > 0 for layer, group in traced.graph.groups.items()}
    splits = on_gpu(splits)
    assert_same(*(trained(shrink(traced, mask), splits, monkeypatch, replays) for replays in (True, False)))


def test_dropout_and_frozen_parts_are_as_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = on_gpu(own_labels(lively_vgg(), 20))
    assert_same(*(trained(network_of(), splits, monkeypatch, replays) for replays in (True, False)))


def test_a_training_goes_on_from_its_file_as_launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_file, "EVERY_S", 0.0)
    monkeypatch.setattr(training_file, "SHARE", 1e9)
    splits = on_gpu(own_labels(lively_vgg(), 20))
    expected = trained(network_of(), splits, monkeypatch, replays=False)
    real, steps = TrainingFile.save, 0

    def save(self: TrainingFile, tensors: dict[str, Tensor]) -> None:
        nonlocal steps
        real(self, tensors)
        steps += 1
        if steps == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingFile, "save", save)
        with pytest.raises(KeyboardInterrupt):
            trained(network_of(), splits, monkeypatch, True, TrainingFile(tmp_path, "one"))
    assert_same(expected, trained(network_of(), splits, monkeypatch, True, TrainingFile(tmp_path, "one")))


def test_networks_trained_together_are_as_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    net = lively_vgg(0.125)
    splits = on_gpu(own_labels(net, 20))
    traced = trace(net.to(CUDA), splits.input_shape)
    groups = list(traced.graph.groups.values())
    cuts = [
        {layer: torch.arange(group.num_filters) % n > 0 for layer, group in traced.graph.groups.items()} for n in (2, 3)
    ]
    score = SCORES.build("top1_accuracy", {})
    found = []
    for replays in (True, False):
        stack = stack_of(trace(lively_vgg(0.125).to(CUDA), splits.input_shape).network, traced.graph, {}, cuts, groups)
        with monkeypatch.context() as patched, counted_replays() as number:
            if not replays:
                patched.setattr(captured, "FEWEST", 10**9)
            gradients = Gradients(stack, summed(score.loss), STEPS)
            images = splits.val.images_BCHW.float() / 255
            losses = [gradients((images + step,), splits.val.labels_B) for step in range(STEPS)]
            assert (number[0] > 0) == replays
        found.append([torch.stack(losses), *(parameter.grad.clone() for parameter in stack.parameters())])
    assert all(map(torch.equal, *found))


def test_a_step_that_cannot_be_recorded_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording ends where the processor waits for the GPU; draws go on as if nothing had been tried."""

    class Asks(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values * 2 if float(values.sum()) > 0 else values

    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(0.5), Asks(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    splits, state = on_gpu(own_labels(lively_vgg(), 20)), {k: v.clone() for k, v in network.state_dict().items()}
    expected = trained(network, splits, monkeypatch, replays=False)
    network.load_state_dict(state)
    monkeypatch.setattr(captured, "is_steady", lambda network, loss: True)
    found = trained(network, splits, monkeypatch, replays=False)
    assert_same(expected, found)
    torch.rand(3, device=CUDA)


def test_memory_of_recordings_is_freed() -> None:
    splits = on_gpu(own_labels(lively_vgg(), 20))
    score = SCORES.build("top1_accuracy", {})

    def reserved() -> int:
        train(lively_vgg(0.25).to(CUDA), splits, score, RECIPE, STEPS, seed=0)
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    reserved()
    before = reserved()
    for _ in range(4):
        after = reserved()
    assert after <= before
