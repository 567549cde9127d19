"""In how many digits torch multiplies float32 tensors, on all devices: settings of the process, read, set and put back.

A program may have asked for fewer, such as by ``torch.set_float32_matmul_precision("medium")``: then products on many
processors are in bfloat16, and on GPUs in TF32. Since version 2.9 torch has two interfaces. Each has settings of its
own: where both were used, reading the older one may be an error, and it does not undo what the newer one has set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import torch

Place = tuple[str, str]
WHOLE = [("generic", "all"), ("cuda", "all"), ("mkldnn", "all")]
"""Places of the newer interface; each holds for those below it that say ``none``."""
PARTS = list(product(("cuda", "mkldnn"), ("conv", "rnn", "matmul")))


@dataclass(frozen=True)
class Digits:
    """The settings of both interfaces."""

    places: Mapping[Place, str]
    """Of the newer interface; empty where torch has none."""
    matmul: str
    """Of the older interface, for products of matrices."""
    cudnn: bool
    """Of the older interface, whether convolutions on a GPU are in TF32."""


def _has_places() -> bool:
    return hasattr(torch._C, "_get_fp32_precision_getter")


def _put(place: Place, precision: str) -> None:
    torch._C._set_fp32_precision_setter(*place, precision)


def digits() -> Digits:
    """The present settings."""
    if not _has_places():
        return Digits({}, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    places = {}
    for place in (*WHOLE, *PARTS):
        places[place] = torch._C._get_fp32_precision_getter(*place)
        _put(place, "none")  # shows what those below it say themselves
    try:
        cudnn = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # it is on, unlike the newer settings
        cudnn = True
    found = Digits(places, torch.get_float32_matmul_precision(), cudnn)
    put_back(found)
    return found


def put_back(before: Digits) -> None:
    """Set what :func:`digits` returned."""
    torch.set_float32_matmul_precision(before.matmul)
    torch.backends.cudnn.allow_tf32 = before.cudnn
    for place, precision in before.places.items():
        _put(place, precision)


def all_digits() -> None:
    """From now on, all digits of float32."""
    places = {**dict.fromkeys(WHOLE, "none"), **dict.fromkeys(PARTS, "ieee")}
    put_back(Digits(places if _has_places() else {}, "highest", False))


@contextlib.contextmanager
def same_digits() -> Iterator[None]:
    """Restore the settings after the block."""
    before = digits()
    try:
        yield
    finally:
        put_back(before)


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """Convolutions and products of float32 tensors in TF32 within the block, on a GPU that has it.

    By the older interface, which is quick: it is used for each candidate, behind :func:`all_digits`.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
