"""Draws from torch's own generators, after which they go on as if there had been none.

``torch.manual_seed`` seeds the generators of all devices, and ``torch.random.fork_rng`` restores those alone that it is
told of. So a program that seeded its GPU, and then called something of ours, would go on with our draws.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def same_draws() -> Iterator[None]:
    """Restore torch's generators, of the processor and of all GPUs in use, after the block."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    apples = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            if gpus is not None:
                torch.cuda.set_rng_state_all(gpus)
            if apples is not None:
                torch.mps.set_rng_state(apples)


@contextlib.contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Seed torch's generators inside the block, and restore them after it."""
    gpus_are_new = not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    try:
        with same_draws():
            torch.manual_seed(seed)
            yield
    finally:
        if gpus_are_new:  # seeded at their first use: as the program seeded the processor
            torch.cuda.manual_seed_all(torch.initial_seed())
