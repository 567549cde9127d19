"""Data sets larger than the memory for them: decoded for each batch, with the same numbers as those held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.engine.inputs import Inputs
from raprune.engine.train import train_batches
from raprune.plugins.datasets.base import Splits
from raprune.study.parts import DataSpec
from raprune.study.schema import DataChoice
from tests.data.files import class_folders

NEVER = {"memory_gib": 0.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    class_folders(tmp_path / "images", 24)
    return tmp_path / "images"


def opened(root: Path, settings: dict[str, Any] | None = None, guard: float = 0.3, **data: Any) -> Splits:
    base = {"root": str(root), "size": 24, "resize": 28, "num_val": 10, "num_test": 6, "shift": 2}
    choice = DataChoice(name="image_folder", settings={**base, **(settings or {})}, guard=guard)
    with Inputs() as inputs:
        inputs.read_as(DataSpec(cache=str(root.parent / "cache"), **data))
        return inputs.data(choice)


def batches_of(splits: Splits, num_steps: int = 9, seed: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(train_batches(splits, 8, num_steps, seed, torch.float32))


def same(one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(one) == len(other) > 0 and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(one, other, strict=True)
    )


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
        torch.manual_seed(7)
        assert same(batches_of(opened(root, workers=workers, **NEVER)), expected)
        assert int(torch.randint(1 << 30, ())) == int(torch.manual_seed(7) and torch.randint(1 << 30, ()))
