"""The order in which candidates see val's images: first those that the baseline is least sure of.

It is computed once, with the baseline, and stored beside its weights. A partial tally records how many images of this
order were counted, so every evaluator, on any processor, must continue in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from raprune.errors import InputError
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.plugins.scores.base import Score

ORDER_FILE = "val_order.safetensors"
NAME = "val_order"


def fragile_first(score: Score, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """(B,) int64: places of val's images by margin, smallest first, from the baseline's (logits, labels)."""
    margins = [score.margins(logits, labels).cpu() for logits, labels in batches]
    return torch.cat(margins).argsort(stable=True)


def save_order(order_B: Tensor, folder: Path) -> Path:
    """Write the order into a baseline's folder; returns the file."""
    save_safetensors({NAME: order_B}, folder / ORDER_FILE)
    return folder / ORDER_FILE


def load_order(folder: Path, num_images: int) -> Tensor:
    """Read the order in a baseline's folder. Raises :class:`InputError` if it does not order ``num_images`` images."""
    file = folder / ORDER_FILE
    order: Tensor | None = load_safetensors(file).get(NAME)
    if order is None or not torch.equal(order.sort().values, torch.arange(num_images)):
        raise InputError(
            f"{file} does not hold an order of the {num_images} validation images: delete it, and it is rebuilt"
        )
    return order
