"""A data set on the device that computes; engines of one process that have the same data and device share it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import torch

from raprune.plugins.datasets.base import Split, Splits

GPU_SHARE = 0.5
"""Of a GPU's free memory, what images may take; more of them stay on the host."""


@dataclass(frozen=True, eq=False)
class Moved:
    """A data set, and what it is on a device. Whoever uses it holds it: it goes with the last of them."""

    source: Splits
    splits: Splits


_MOVED: WeakValueDictionary[tuple[int, str], Moved] = WeakValueDictionary()
"""By the source's id, which no other object gets while its entry lives."""


def moved(source: Splits, device: torch.device) -> Moved:
    """``source`` on ``device``, moved once for all who hold the result."""
    key = id(source), str(device)
    found = _MOVED.get(key)
    if found is None:
        _MOVED[key] = found = Moved(source, on_device(source, device))
    return found


def on_device(splits: Splits, device: torch.device) -> Splits:
    """The splits moved to ``device``; images that are decoded for each batch, or too many for it, follow in batches."""
    parts = [part for part in (splits.train, splits.val, splits.guard, splits.test) if part is not None]
    fits = device.type != "cuda" or sum(part.images_BCHW.nbytes for part in parts) <= _room(device)

    def move(part: Split) -> Split:
        images_BCHW = part.images_BCHW.to(device) if fits else part.images_BCHW
        return Split(images_BCHW, part.labels_B.to(device), part.stream)

    guard, test = (None if part is None else move(part) for part in (splits.guard, splits.test))
    return replace(splits, train=move(splits.train), val=move(splits.val), guard=guard, test=test)


def _room(device: torch.device) -> float:
    """Bytes of images that a GPU may hold."""
    return GPU_SHARE * torch.cuda.mem_get_info(device)[0]
