"""How a GPU computes: in full float32 unless TF32 is asked for, by algorithms that give the same bits every time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch

from raprune.errors import InputError

TF32_SINCE = 8
"""The compute capability (its major number) of the first GPUs with TF32: Ampere."""


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


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """Convolutions and products of float32 tensors in TF32 within the block, on a GPU that has it."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def check_precisions(precisions: Iterable[str | None], device: str) -> None:
    """Raise :class:`InputError` if one of ``precisions``, of candidates or of a network, is not for ``device``.

    A process without a GPU takes any other's for one that can do all.
    """
    kind = torch.device(device).type
    if kind == "mps" and "float64" in precisions:
        raise InputError("model.precision: float64 is not for Apple's GPUs: use evaluators.device: cpu")
    if "tf32" not in precisions:
        return
    if kind != "cuda":
        what = "the processor" if kind == "cpu" else f"the device {kind}"
    elif torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] < TF32_SINCE:
        what = torch.cuda.get_device_name(device)
    else:
        return
    raise InputError(
        f"fidelity.precision: tf32 needs an NVIDIA GPU of compute capability {TF32_SINCE} or above; candidates would "
        f"be scored on {what}: use full or bfloat16, or another evaluators.device"
    )
