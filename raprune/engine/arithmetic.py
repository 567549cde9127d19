"""How a GPU computes: in full float32, and by algorithms that give the same bits every time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def exact_arithmetic(device: torch.device) -> None:
    """If ``device`` is a GPU, switch off TF32 and the search for the fastest algorithm, for this process.

    TF32, torch's default for convolutions, has 10 bits of mantissa: it changes the network's values by a thousandth.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextlib.contextmanager
def same_arithmetic() -> Iterator[None]:
    """Restore the GPU's arithmetic settings after the block."""
    if not torch.cuda.is_available():
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
