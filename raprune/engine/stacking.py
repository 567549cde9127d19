"""Several masks in one launch: their candidates run masked, one behind the other in the batch.

A launch always holds the same number of slots; those without a mask of their own repeat the last one. So what is
computed for a mask never depends on which other masks were requested with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from raprune.engine.kernels.program import is_tensor
from raprune.engine.launches import MASKS_A_LAUNCH
from raprune.engine.split import Crossing, Halves, nbytes
from raprune.network.graph import present

MAX_BYTES = 2**24
"""Most bytes of values in one launch: with more, a GPU is busy and smaller tensors save more than fewer launches."""


def num_slots(halves: Halves, image_1CHW: Tensor, batch_size: int) -> int:
    """Masks per launch for batches of ``batch_size``; 1 where masks cannot be stacked, or stacking would not pay.

    Every part that loses channels must read them where they cross: a channel that is zero there stays zero. Every
    crossing value must be a tensor whose first dimension is the images, or be independent of their number. The result
    depends on shapes alone, so it is the same for every request.
    """
    readers = {f"part_{name}" for name in halves.graph.group(halves.layer).consumers}
    if halves.sites or not {entry.part for entry in halves.touched} <= readers:
        return 1
    one, two = (halves.prefix(image_1CHW.repeat(number, 1, 1, 1)) for number in (1, 2))
    if not all(map(_follows_images, one, two)):
        return 1
    return MASKS_A_LAUNCH if MASKS_A_LAUNCH * nbytes(one) * batch_size <= MAX_BYTES else 1


def _follows_images(of_one: Any, of_two: Any) -> bool:
    """Whether a crossing value of one image and that of two images differ only in the number of images."""
    if isinstance(of_one, Tensor):
        return of_one.dim() > 1 and len(of_one) == 1 and of_two.shape == (2, *of_one.shape[1:])
    return bool(of_one == of_two)


def stacked(halves: Halves, masks: Sequence[Tensor], slots: int) -> Callable[[Crossing], list[Tensor]]:
    """The function from a batch's crossing values to logits for each of at most ``slots`` masks of the layer."""
    filled = [masks[min(slot, len(masks) - 1)] for slot in range(slots)]
    keeps = [_keep(halves, mask) for mask in filled]

    def logits(values: Crossing) -> list[Tensor]:
        rows = [_in_slots(value, [keep[place] for keep in keeps]) for place, value in enumerate(values)]
        return list(is_tensor(halves.suffix(*rows)).chunk(slots))[: len(masks)]

    return logits


def _keep(halves: Halves, mask: Tensor) -> list[Tensor | None]:
    """For each crossing value, a (C,) mask of the channels that stay; ``None`` where all do."""
    kept = halves.kept(mask)
    return [None if ids is None else torch.from_numpy(present(ids, kept)).to(halves.device) for ids in halves.crossing]


def _in_slots(value: Any, keeps: Sequence[Tensor | None]) -> Any:
    return torch.cat([_masked(value, keep_C) for keep_C in keeps]) if isinstance(value, Tensor) else value


def _masked(value: Tensor, keep_C: Tensor | None) -> Tensor:
    if keep_C is None:
        return value
    return torch.where(keep_C.view(1, -1, *[1] * (value.dim() - 2)), value, value.new_zeros(()))
