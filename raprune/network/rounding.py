"""Rounding the number of kept filters up to a multiple, such as 8, that a backend's kernels like."""

from __future__ import annotations

from torch import Tensor


def round_up(keep_mask_N: Tensor, multiple: int, weights_NM: Tensor) -> Tensor:
    """``keep_mask_N`` with pruned filters added back until a multiple of ``multiple`` is kept, at most all of them.

    Those of the largest L1 norm come back first, of equal ones the first in the layer. ``multiple`` 1 changes nothing.
    """
    num_missing = -int(keep_mask_N.sum()) % multiple
    norm_N = weights_NM.abs().sum(1).masked_fill(keep_mask_N, -1.0)
    largest = norm_N.argsort(descending=True, stable=True)[: min(num_missing, int((~keep_mask_N).sum()))]
    rounded_N = keep_mask_N.clone()
    rounded_N[largest] = True
    return rounded_N
