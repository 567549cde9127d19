"""Keep masks: which filters of a layer are kept; at least one always is.

Legend: N filters, M_l weights per filter. Plug-ins pass bool tensors of shape (N,), True = keep; inside raprune a mask
is a :class:`KeepMask` as soon as a plug-in returns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class KeepMask:
    """A keep mask: hashable, compared by content, and pickled as its key."""

    key: bytes
    """One byte per filter, 1 = kept. Memo keys and the versions of states hash it; files hold the same numbers."""

    def __post_init__(self) -> None:
        if self.key.strip(b"\0\1"):
            raise ValueError("the key of a keep mask has one byte per filter, 0 or 1")
        if 1 not in self.key:
            raise ValueError("a keep mask must keep at least one filter")

    def __reduce__(self) -> tuple[type[KeepMask], tuple[bytes]]:
        return KeepMask, (self.key,)

    @classmethod
    def of(cls, mask_N: Tensor, num_filters: int | None = None) -> KeepMask:
        """From a bool tensor of shape (``num_filters``,) that keeps at least one; else raises ``ValueError``."""
        shape = (mask_N.numel() if num_filters is None else num_filters,)
        if mask_N.dtype != torch.bool or mask_N.shape != shape:
            got = f"{mask_N.dtype} of shape {tuple(mask_N.shape)}"
            raise ValueError(f"a keep mask must be bool of shape ({shape[0]},); got {got}")
        return cls(mask_N.cpu().numpy().tobytes())

    @classmethod
    def whole(cls, num_filters: int) -> KeepMask:
        """The mask that keeps every filter."""
        return cls(b"\1" * num_filters)

    @cached_property
    def tensor(self) -> Tensor:
        """(N,) bool, shared by all callers: do not write to it."""
        return torch.frombuffer(bytearray(self.key), dtype=torch.bool)

    @property
    def flags(self) -> list[bool]:
        """One bool per filter, as in rows and ``plan.json``."""
        return [bool(byte) for byte in self.key]

    @property
    def num_filters(self) -> int:
        return len(self.key)

    @property
    def num_kept(self) -> int:
        return self.key.count(1)

    @property
    def keeps_all(self) -> bool:
        return 0 not in self.key

    @property
    def pruning_ratio(self) -> float:
        """Share of filters pruned, in [0, 1]."""
        return 1.0 - self.num_kept / self.num_filters

    def round_up(self, multiple: int, weights_NM: Tensor) -> KeepMask:
        """The mask with pruned filters added until it keeps a multiple of ``multiple``, or all; 1 changes nothing.

        Kernels of some backends are faster at multiples of 8, for example. The filters with the largest L1 norm are
        added first, and the first in the layer among equal norms.
        """
        num_missing = min(-self.num_kept % multiple, self.num_filters - self.num_kept)
        norm_N = weights_NM.abs().sum(1).masked_fill(self.tensor, -1.0)
        rounded_N = self.tensor.clone()
        rounded_N[norm_N.argsort(descending=True, stable=True)[:num_missing]] = True
        return KeepMask.of(rounded_N)


def keep_first(ranking: Sequence[int], num_kept: int) -> Tensor:
    """(N,) bool: the first ``num_kept`` filters of a ranking, most important first; prefixes of one ranking nest."""
    mask = torch.zeros(len(ranking), dtype=torch.bool)
    mask[list(ranking[:num_kept])] = True
    return mask
