"""Moves channels to where a sum expects them, so that summands can keep different filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raprune.network.graph.plain import Ours


class Align(Ours, nn.Module):
    """Gathers channels by ``index``; an entry equal to the number of channels yields zeros. Identity without an index.

    The index is not part of the state dict: it follows from the keep masks.
    """

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", torch.empty(0, dtype=torch.int64), persistent=False)

    def forward(self, values_BC: Tensor) -> Tensor:
        """(B, C, ...) to (B, len(index), ...)."""
        return align(values_BC, self.index)


def align(values_BC: Tensor, index: Tensor) -> Tensor:
    """(B, C, ...) to (B, len(index), ...); values_BC itself where ``index`` is empty."""
    if index.numel() == 0:
        return values_BC
    if values_BC.dim() == 4:  # keeps channels_last without a second copy
        padded_BHWC = nn.functional.pad(values_BC.permute(0, 2, 3, 1), (0, 1))
        return padded_BHWC.index_select(3, index).permute(0, 3, 1, 2)
    zeros = values_BC.new_zeros(values_BC.shape[0], 1, *values_BC.shape[2:])
    return torch.cat([values_BC, zeros], 1).index_select(1, index)
