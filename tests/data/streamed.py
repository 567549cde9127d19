"""A small image folder, opened as a data set that does not fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from raprune.engine.batches import train_batches
from raprune.engine.inputs import Inputs
from raprune.plugins.datasets.base import Splits
from raprune.study.parts import DataSpec
from raprune.study.schema import DataChoice

NEVER = {"memory_gib": 0.0}


def opened(root: Path, settings: dict[str, Any] | None = None, guard: float = 0.3, **data: Any) -> Splits:
    base = {"root": str(root), "size": 24, "resize": 28, "num_val": 10, "num_test": 6, "shift": 2}
    choice = DataChoice(name="image_folder", settings={**base, **(settings or {})}, guard=guard)
    with Inputs() as inputs:
        inputs.read_as(DataSpec(cache=str(root.parent / "cache"), **data))
        return inputs.data(choice)


def both(root: Path, **data: Any) -> tuple[Splits, Splits]:
    """A data set as it is read, and as it goes to other processes."""
    settings = {"root": str(root), "size": 32, "num_val": 10, "num_test": 6}
    choice = DataChoice(name="image_folder", settings=settings, guard=0.3)
    with Inputs() as inputs:
        inputs.read_as(DataSpec(cache=str(root.parent / "cache"), **{**NEVER, **data}))
        return inputs.data(choice), inputs.encoded(choice)


def batches_of(splits: Splits, num_steps: int = 9, seed: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(train_batches(splits, 8, num_steps, seed, torch.float32))


def same(one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(one) == len(other) > 0 and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(one, other, strict=True)
    )
