"""A long training whose process dies goes on from its file, to the same weights; a bad file costs time only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raprune.engine import training_file
from raprune.engine.batches import TrainBatches
from raprune.engine.train import Recipe, train
from raprune.engine.training_file import DONE, FOLDER, SO_FAR, TrainingFile, forget_trainings
from raprune.identity import of_tensors
from raprune.plugins.datasets.base import Splits, shift_and_flip
from raprune.plugins.scores.base import Score
from raprune.registry import SCORES
from raprune.system.store.hooks import publisher_of
from tests.data.files import class_folders
from tests.data.streamed import NEVER, opened
from tests.system.store.fakes import machine
from tests.tiny import lively_vgg, own_labels

STEPS = 11
"""Four a epoch."""
RECIPE = Recipe(0.05, 0.9, 0.001, 16, "one_cycle")


class DiedError(Exception):
    """The process died."""


class Dying:
    """A score that counts its losses and lets the training die instead of one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.score: Score = SCORES.build("top1_accuracy", {})
        self.losses = 0
        self.dies_at = dies_at

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.losses == self.dies_at:
            raise DiedError
        self.losses += 1
        return self.score.loss(logits, labels)


def network_of(channels: int = 3) -> nn.Module:
    """With dropout, norms and a frozen layer, in the layout that engines use."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.4), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 10),
    )  # fmt: skip
    network[0].bias.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return replace(own_labels(lively_vgg(), 20), augment=shift_and_flip(3, flip=True))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is written after each step."""
    monkeypatch.setattr(training_file, "EVERY_S", 0.0)
    monkeypatch.setattr(training_file, "SHARE", 1e9)


def trained(
    splits: Splits, file: TrainingFile | None = None, dies_at: int | None = None, recipe: Recipe = RECIPE
) -> tuple[dict[str, Tensor], int]:
    """What a training leaves, and its number of steps."""
    network, dying = network_of(splits.input_shape[0]), Dying(dies_at)
    assert train(network, splits, dying, recipe, STEPS, 5, file)  # type: ignore[arg-type]
    return network.state_dict(), dying.losses


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def file_of(tmp_path: Path, *what: str) -> TrainingFile:
    return TrainingFile(tmp_path, *what, clock=lambda: 0.0)


def cut_short(tmp_path: Path, splits: Splits, dies_at: int, recipe: Recipe = RECIPE) -> Path:
    file = file_of(tmp_path, "a")
    with pytest.raises(DiedError):
        trained(splits, file, dies_at, recipe)
    assert [place.name for place in file.folder.iterdir()] == [SO_FAR]
    return file.folder / SO_FAR


@pytest.mark.parametrize("dies_at", [1, 4, 6, 8])  # in an epoch, and between two
@pytest.mark.usefixtures("often")
def test_it_goes_on_to_the_same_bits(dies_at: int, splits: Splits, tmp_path: Path) -> None:
    expected, _ = trained(splits)
    cut_short(tmp_path, splits, dies_at)
    drawn = torch.get_rng_state()
    found, steps = trained(splits, file_of(tmp_path, "a"))
    assert same(found, expected)
    assert steps == STEPS - dies_at
    assert [place.name for place in (tmp_path / FOLDER).glob("*/*")] == [DONE]
    assert torch.equal(torch.get_rng_state(), drawn)  # nobody else's draws change


@pytest.mark.usefixtures("often")
def test_it_dies_again_and_again(splits: Splits, tmp_path: Path) -> None:
    plain = replace(RECIPE, momentum=0.0, schedule="linear")
    expected, _ = trained(splits, recipe=plain)
    for _ in range(STEPS - 1):
        cut_short(tmp_path, splits, 1, plain)
    found, steps = trained(splits, file_of(tmp_path, "a"), recipe=plain)
    assert steps == 1
    assert same(found, expected)


@pytest.mark.usefixtures("often")
def test_the_result_is_kept_for_who_asks_again(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial may die before it commits it; of many results the newest stay."""
    expected, _ = trained(splits, file_of(tmp_path, "a"))
    found, steps = trained(splits, file_of(tmp_path, "a"))
    assert steps == 0
    assert same(found, expected)
    (kept,) = (tmp_path / FOLDER).glob("*/*")
    assert not any(name.startswith("momentum.") for name in load_file(kept))
    os.utime(kept, (0, 0))
    monkeypatch.setattr(training_file, "KEPT_BYTES", kept.stat().st_size)
    trained(splits, file_of(tmp_path, "b"))
    assert list((tmp_path / FOLDER).glob(f"*/{DONE}")) == [file_of(tmp_path, "b").folder / DONE]
    forget_trainings(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_short_training_writes_nothing(splits: Splits, tmp_path: Path) -> None:
    now = iter([0.0] + [59.0] * 99)
    trained(splits, TrainingFile(tmp_path, clock=lambda: next(now)))
    assert list(tmp_path.iterdir()) == []


def test_writing_takes_a_small_share_of_the_time(tmp_path: Path) -> None:
    times = iter([0.0, 60.0, 60.0, 72.0, 671.0, 672.0])
    file = TrainingFile(tmp_path, clock=lambda: next(times))
    assert file.is_due()
    file.save({"step": torch.tensor(1)})  # for 12 s
    assert not file.is_due()
    assert file.is_due()


@pytest.mark.usefixtures("often")
def test_another_training_does_not_take_it_up(splits: Splits, tmp_path: Path) -> None:
    cut_short(tmp_path, splits, 6)
    _, steps = trained(splits, file_of(tmp_path, "b"))
    assert steps == STEPS
    assert (file_of(tmp_path, "a").folder / SO_FAR).is_file()


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)


def _no_file(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _rewritten(file: Path, tensors: dict[str, Tensor], **header: str) -> None:
    with safe_open(file, framework="pt") as found:
        before = found.metadata()
    save_file(tensors, file, before | {"fingerprint": of_tensors(tensors)} | header)


def _older(file: Path) -> None:
    _rewritten(file, load_file(file), format="0")


def _of_another_network(file: Path) -> None:
    _rewritten(file, load_file(file) | {"network.9.bias": torch.zeros(3)})


def _without_the_network(file: Path) -> None:
    _rewritten(file, {name: t for name, t in load_file(file).items() if not name.startswith("network.")})


def _beyond_its_end(file: Path) -> None:
    _rewritten(file, load_file(file) | {"step": torch.tensor(STEPS + 1)})


def _with_other_generators(file: Path) -> None:
    _rewritten(file, load_file(file) | {"batches.now": torch.ones(5056, dtype=torch.uint8)})


BAD = [
    (_truncated, "is damaged"), (_changed, "has changed"), (_no_file, "not a file"), (_older, "another version"),
    (_of_another_network, "9.bias has another shape"), (_without_the_network, "other tensors"),
    (_beyond_its_end, "step 12 of 11"), (_with_other_generators, "cannot be used"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "why"), BAD, ids=[spoil.__name__[1:] for spoil, _ in BAD])
@pytest.mark.usefixtures("often")
def test_what_cannot_be_used_is_told_and_forgotten(
    spoil: Callable[[Path], None], why: str, splits: Splits, tmp_path: Path
) -> None:
    expected, _ = trained(splits)
    place = cut_short(tmp_path, splits, 6)
    spoil(place)
    with pytest.warns(UserWarning, match=f"{place}.*{why}.*; this training starts again from its beginning"):
        found, steps = trained(splits, file_of(tmp_path, "a"))
    assert steps == STEPS
    assert same(found, expected)
    assert not place.exists()


@pytest.mark.usefixtures("often")
def test_a_folder_that_takes_no_file_costs_nothing(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("somebody's")
    with pytest.warns(UserWarning, match="training.*until it can be written"):
        found, _ = trained(splits, file_of(tmp_path, "a"))
    assert same(found, trained(splits)[0])


@pytest.mark.usefixtures("often")
def test_images_decoded_for_each_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before the training was cut short are not decoded again."""
    class_folders(tmp_path / "images", 24)
    splits = opened(tmp_path / "images", {"random_resized_crop": True, "flip": True}, workers=0, **NEVER)
    stream, decoded = splits.train.stream, []
    assert stream is not None
    batch = type(stream).batch
    monkeypatch.setattr(type(stream), "batch", lambda self, *args: decoded.append(args[2]) or batch(self, *args))
    recipe = replace(RECIPE, batch_size=5)
    expected, _ = trained(splits, recipe=recipe)
    assert decoded == list(range(STEPS))
    cut_short(tmp_path, splits, 4, recipe)
    decoded.clear()
    found, _ = trained(splits, file_of(tmp_path, "a"), recipe=recipe)
    assert same(found, expected)
    assert decoded == list(range(4, STEPS))


def test_batches_can_be_left_and_taken_up_anywhere(splits: Splits) -> None:
    every = list(TrainBatches(splits, 16, STEPS, 5, torch.float32))
    for number in range(1, STEPS + 1):
        first = TrainBatches(splits, 16, STEPS, 5, torch.float32)
        for _ in zip(range(number), first, strict=False):
            pass
        later = TrainBatches(splits, 16, STEPS, 0, torch.float32)
        later.go_to(number, first.place())
        rest = list(later)
        assert len(rest) == STEPS - number
        pairs = zip(rest, every[number:], strict=True)
        assert all(torch.equal(a[0], b[0]) and torch.equal(x, y) for (a, x), (b, y) in pairs)


def content_names(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


@pytest.mark.usefixtures("often")
def test_another_machine_goes_on_through_the_store(splits: Splits, tmp_path: Path) -> None:
    """Each has a mirror of its own; a third one, which runs the study, removes what is left."""
    expected, _ = trained(splits)
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    cut_short(a.root, splits, 6)
    publisher_of(a.root).deliver()
    found, steps = trained(splits, file_of(b.root, "a"))
    assert steps == STEPS - 6
    assert same(found, expected)
    publisher_of(b.root).deliver()
    assert list(content_names(tmp_path / "store")) == [f"{FOLDER}/{file_of(a.root, 'a').key}/{DONE}"]
    c = machine("c", tmp_path)
    assert len(c.take()) == 1
    assert not (c.root / FOLDER).exists()  # who does not go on with it does not take it
    forget_trainings(c.root)
    assert list(content_names(tmp_path / "store")) == []
