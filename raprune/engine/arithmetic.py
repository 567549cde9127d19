"""How a device computes: in full float32 unless TF32 is asked for, on a GPU by algorithms that repeat their bits."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from raprune.engine.float32 import all_digits, same_digits
from raprune.errors import InputError

CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""An environment variable, and the value with which cuBLAS gives the same bits every time."""
TF32_SINCE = 8
"""The compute capability (its major number) of the first GPUs with TF32: Ampere."""


def exact_arithmetic(device: torch.device) -> None:
    """Switch off what is inexact, and on a GPU what varies from call to call, for this process.

    TF32, torch's default for convolutions on a GPU, has 10 bits of mantissa: it changes the network's values by a
    thousandth. So does bfloat16, which a program may have asked for on a processor. The search for the fastest
    algorithm may find another one next time. Some gradients, such as that of bilinear interpolation, are added in no
    fixed order unless deterministic algorithms are asked for; torch warns where it has none. That of average pooling is
    in order unless a map is enlarged, so its warning would mostly be a false alarm.
    """
    all_digits()
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    os.environ.setdefault(*CUBLAS)
    warnings.filterwarnings("ignore", "adaptive_avg_pool2d_backward_cuda does not have a deterministic", UserWarning)
    torch.use_deterministic_algorithms(True, warn_only=True)
    _filling().fill_uninitialized_memory = False  # nothing here reads what it has not written


@contextlib.contextmanager
def same_arithmetic() -> Iterator[None]:
    """Restore all these settings after the block."""
    with same_digits(), _same_algorithms() if torch.cuda.is_available() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _same_algorithms() -> Iterator[None]:
    cudnn, filling, workspace = torch.backends.cudnn, _filling(), os.environ.get(CUBLAS[0])
    before = cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory = before
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        if workspace is None:
            os.environ.pop(CUBLAS[0], None)


def _filling() -> Any:
    """The module of torch that says whether new tensors are filled while algorithms are deterministic."""
    return torch.utils.deterministic


def check_precisions(precisions: Iterable[str | None], device: str) -> None:
    """Raise :class:`InputError` if one of ``precisions``, of candidates or of a network, is not for ``device``.

    A process without a GPU takes any other's for one that can do all.
    """
    kind = torch.device(device).type
    if kind == "mps" and "float64" in precisions:
        raise InputError("model.precision: float64 is not for Apple's GPUs: use evaluators.device: cpu")
    if "tf32" not in precisions:
        return
    way_on = "use full or bfloat16, or another evaluators.device"
    if kind != "cuda":
        what = "the processor" if kind == "cpu" else f"the device {kind}"
    elif torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] < TF32_SINCE:
        what = torch.cuda.get_device_name(device)
        way_on = "use full or bfloat16, or, in a cluster that has newer GPUs, only these (evaluators.accelerator_type)"
    else:
        return
    raise InputError(
        f"fidelity.precision: tf32 needs an NVIDIA GPU of compute capability {TF32_SINCE} or above; candidates would "
        f"be scored on {what}: {way_on}"
    )
