"""Keep masks: bool, one entry a filter, True = keep, never empty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def check_keep_mask(mask: Tensor, num_filters: int) -> Tensor:
    """``mask`` itself, shape (num_filters,), bool, at least one filter kept; anything else is a plug-in's error."""
    if mask.dtype != torch.bool or mask.shape != (num_filters,):
        found = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(f"a keep mask must be bool of shape ({num_filters},); got {found}")
    if not mask.any():
        raise ValueError("a keep mask must keep at least one filter")
    return mask


def keep_first(ranking: Sequence[int], num_kept: int) -> Tensor:
    """Keep the first ``num_kept`` filters of a ranking (most important first): the nested prefixes of one ranking."""
    mask = torch.zeros(len(ranking), dtype=torch.bool)
    mask[list(ranking[:num_kept])] = True
    return mask


def pruning_ratio(mask: Tensor) -> float:
    """Share of filters pruned, in [0, 1]."""
    return 1.0 - int(mask.sum()) / mask.numel()


def pack(mask: Tensor) -> bytes:
    """One byte a filter; the form in which masks travel."""
    return bytes(mask.to(torch.uint8).tolist())


def unpack(data: bytes) -> Tensor:
    """The mask that :func:`pack` packed."""
    return torch.tensor(list(data), dtype=torch.bool)
