"""Data sets larger than the memory for them: decoded for each batch, with the same numbers as those held in memory."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from raprune.engine.batches import TrainBatches
from raprune.engine.inputs import Inputs
from raprune.engine.train import Recipe, train_on
from raprune.errors import RapruneError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets.fits import DRAWS, RandomCrop
from raprune.plugins.datasets.sources import Files
from raprune.plugins.datasets.stream import Stream
from raprune.preflight.estimate.memory import held_by
from raprune.registry import SCORES
from raprune.study.parts import DataSpec
from raprune.study.schema import DataChoice
from tests.data.drawn import photo, pixels, png
from tests.data.files import write_parquet
from tests.data.hub import hugging_face_table, save_arrow
from tests.data.streamed import NEVER, batches_of, both, opened, same
from tests.tiny import engine_of, lively_vgg


def test_a_stream_gives_the_bits_of_memory(root: Path) -> None:
    """Whatever the number of processes that decode; two epochs and a part."""
    whole, streamed = opened(root), opened(root, workers=0, **NEVER)
    assert whole.train.stream is None
    assert streamed.train.stream is not None
    for name in ("val", "guard", "test"):
        assert torch.equal(whole.split(name).images_BCHW, streamed.split(name).images_BCHW)
        assert torch.equal(whole.split(name).labels_B, streamed.split(name).labels_B)
    index = torch.tensor([5, 0, 11])
    assert torch.equal(whole.train.at(index), streamed.train.at(index))
    assert torch.equal(whole.train.take(index).at(slice(1, 3)), streamed.train.take(index).at(slice(1, 3)))
    expected = batches_of(whole)
    for workers in (0, 1, 3):
        generator = torch.manual_seed(7)
        assert same(batches_of(opened(root, workers=workers, **NEVER)), expected)
        assert torch.equal(generator.get_state(), torch.manual_seed(7).get_state())  # dropout draws from it


def test_random_parts_follow_from_the_seed(root: Path) -> None:
    """Neither from the processes that decode nor from the number of steps; a stream whatever the memory."""
    settings = {"random_resized_crop": True, "flip": False}
    one, other = (opened(root, settings, workers=workers) for workers in (0, 2))
    assert one.train.stream is not None
    assert one.augment is None
    assert one.val.stream is None
    first = batches_of(one)
    assert same(first, batches_of(other))
    assert same(first[:5], batches_of(other, 5))
    assert not same(first, batches_of(one, seed=4))
    plain = opened(root, {"flip": False, "shift": 0})
    assert not torch.equal(first[0][0], batches_of(plain)[0][0])
    assert torch.equal(one.train.at(slice(4)), plain.train.at(slice(4)))  # as scored: the centre


def test_random_parts_as_torchvision_takes_them() -> None:
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional

    crop, generator = RandomCrop(24, 24, (0.08, 1.0)), torch.Generator().manual_seed(0)
    shares, aspects = [], []
    for seed in range(200):
        width, height = 40 + seed % 50, 30 + seed % 37
        left, top, right, bottom = crop.box(width, height, torch.rand(DRAWS, generator=generator).tolist())
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        shares.append((right - left) * (bottom - top) / (width * height))
        aspects.append((right - left) / (bottom - top))
    assert (min(shares) < 0.15, max(shares) > 0.9) == (True, True)
    assert 0.7 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.45
    assert crop.box(400, 10, [[0.9, 0.5, 0.0, 0.0]]) == (193, 0, 206, 10)  # no try lies in it
    image, draws = photo(3, 33, 47), torch.rand(DRAWS, generator=generator).tolist()
    left, top, right, bottom = crop.box(image.width, image.height, draws)
    expected = functional.resized_crop(
        image, top, left, bottom - top, right - left, [24, 24], v2.InterpolationMode.BILINEAR, antialias=True
    )
    assert np.array_equal(np.asarray(crop(image, draws)), np.asarray(expected))


def test_fine_tunes_that_are_alike_decode_once(root: Path) -> None:
    splits = opened(root, workers=0, **NEVER)
    kept: dict[int, torch.Tensor] = {}
    decoded = []

    def keep(step: int, decode: Any) -> torch.Tensor:
        if step not in kept:
            decoded.append(step)
            kept[step] = decode()
        return kept[step]

    recipe, score = Recipe(0.1, 0.9, 0.0, 8, "linear"), SCORES.build("top1_accuracy", {})
    found = []
    for keeper in (None, keep, keep):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 2))
        batches = TrainBatches(splits, recipe.batch_size, 6, 5, torch.float32, keeper)
        train_on(network, batches, score.loss, recipe, 6, 5)
        found.append(network[1].weight.detach())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert decoded == list(range(6))


def test_the_engine_keeps_what_candidates_are_trained_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One decoding for all candidates of a state where it fits, with the scores of images in memory."""
    steps, batch = [], Stream.batch

    def counted(self: Stream, *args: Any) -> torch.Tensor:
        steps.append(args[2])
        return batch(self, *args)

    monkeypatch.setattr(Stream, "batch", counted)
    network, settings = lively_vgg(), {"size": 32, "resize": 32}
    masks = [KeepMask.of(torch.arange(4) != dropped) for dropped in (0, 1)]
    found = {}
    for name, data, cache_gib in (
        ("memory", {}, 1.0),
        ("kept", {**NEVER, "workers": 0}, 1.0),
        ("anew", {**NEVER, "workers": 0}, 0.0),
    ):
        steps.clear()
        splits = opened(root, settings, **data)
        engine = engine_of(network, splits, before_reward=2, cache_gib=cache_gib)
        scored = engine.evaluate_many(State.baseline("baseline"), "features.0", masks, None, [None] * 2)
        found[name] = [one.score for one in scored], list(steps)
    assert found["kept"][0] == found["anew"][0] == found["memory"][0]
    assert [found[name][1] for name in ("memory", "kept", "anew")] == [[], [0, 1], [0, 1, 0, 1]]


def test_what_an_evaluator_will_hold(root: Path) -> None:
    """Labels in memory, pixels that are scored in files, batches that its processes decode ahead."""
    splits, encoded = both(root, workers=3)
    held = held_by(engine_of(lively_vgg(), splits), encoded, 10, 8, 0)
    image = 3 * 32 * 32
    assert held.data == 8 * (len(splits.train) + 10 + 6)
    assert held.pixels == image * (10 + 6)
    assert held.ahead == 3 * 2 * 8 * image
    whole, same = both(root, memory_gib=1.0)
    held = held_by(engine_of(lively_vgg(), whole), same, 10, 8, 0)
    assert (held.data, held.pixels, held.ahead) == ((image + 8) * 48, 0, 0)


@pytest.mark.parametrize("memory_gib", [1.0, 0.0])
def test_what_a_host_will_hold_of_rows(tmp_path: Path, memory_gib: float) -> None:
    """Rows that stay encoded: in memory, where all processes share them, or copied into the cache."""
    of_split = {name: [png(image) for image in pixels(20, seed)] for seed, name in enumerate(("train", "val"))}
    for name, images in of_split.items():
        write_parquet(tmp_path / f"{name}.parquet", images, [i % 10 for i in range(20)])
    settings = {name: str(tmp_path / f"{name}.parquet") for name in of_split} | {"size": 32, "resize": 32}
    choice = DataChoice(name="image_parquet", settings={**settings, "random_resized_crop": True}, guard=0.3)
    with Inputs() as inputs:
        inputs.read_as(DataSpec(cache=str(tmp_path / "cache"), memory_gib=memory_gib, workers=2))
        splits, encoded = inputs.data(choice), inputs.encoded(choice)
    held = held_by(engine_of(lively_vgg(), splits), encoded, 10, 8, 0)
    assert (held.copied, held.pixels) == tuple(
        sum(file.stat().st_size for file in (tmp_path / "cache").glob(f"*.{kind}")) for kind in ("images", "pixels")
    )
    rows = {name: sum(map(len, images)) for name, images in of_split.items()}
    if memory_gib:
        assert held.copied == 0
        assert rows["train"] <= held.encoded < rows["train"] + 1000  # and where each row ends
        assert held.data == 8 * 40 + 20 * 3 * 32 * 32
    else:
        assert (held.copied, held.encoded, held.data) == (sum(rows.values()), 0, 8 * 40)


@pytest.mark.parametrize("form", ["save_to_disk", "hub"])
@pytest.mark.parametrize("channels", [1, 3])
def test_hugging_face_sets_give_the_bits_of_memory(tmp_path: Path, form: str, channels: int) -> None:
    """From Arrow and from Parquet files; val is dealt, and an image that is there twice is trained on once only."""
    table = hugging_face_table(40, 0)
    table = pa.concat_tables([table, table.slice(0, 12)])
    if form == "save_to_disk":
        save_arrow(table, tmp_path / "set")
    else:
        (tmp_path / "set").mkdir()
        for part in range(2):
            pq.write_table(table.slice(26 * part, 26), tmp_path / "set" / f"train-0000{part}-of-00002.parquet")
    settings = {"path": str(tmp_path / "set"), "num_val": 15, "channels": channels, "label_column": "kind"}
    choice = DataChoice(name="hugging_face", settings=settings, guard=0.3)
    found = []
    for memory_gib in (1.0, 0.0):
        with Inputs() as inputs:
            inputs.read_as(DataSpec(memory_gib=memory_gib, workers=0, cache=str(tmp_path / "cache")))
            found.append(inputs.data(choice))
    whole, splits = found
    assert whole.train.stream is None
    assert len(whole.train) < 52 - 15
    assert splits.train.stream is not None
    assert torch.equal(splits.train.at(slice(None)), whole.train.images_BCHW)
    assert same(batches_of(splits), batches_of(whole))
    assert torch.equal(splits.guard.images_BCHW, whole.guard.images_BCHW)
    assert (splits.num_classes, splits.class_names) == (whole.num_classes, whole.class_names)


def test_a_process_that_ends_is_told(root: Path) -> None:
    """As the system ends one for its memory: in one sentence, with the way on."""
    splits = opened(root, workers=1, **NEVER)
    stream = replace(splits.train.stream, source=Fatal(**vars(splits.train.stream.source)))
    with pytest.raises(RapruneError, match=r"^a process that decodes training images ended: .*set data.workers to few"):
        batches_of(replace(splits, train=replace(splits.train, stream=stream)))


class Fatal(Files):
    """Images that end the process that reads them."""

    def read(self, place: int) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""
