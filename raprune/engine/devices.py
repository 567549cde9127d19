"""Whether torch can compute on a device in this process."""

from __future__ import annotations

import os
import platform

import torch

from raprune.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""An environment variable: the GPUs that a process may use."""


def has_device(device: str) -> bool:
    """Whether torch can compute on ``device`` here: ``cpu``, ``cuda`` (perhaps with a number), or ``mps``."""
    kind = torch.device(device).type
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind != "cuda" or torch.cuda.is_available()


def check_device(device: str) -> None:
    """Raise :class:`InputError` that says why torch cannot compute on ``device`` here, and what to do."""
    if has_device(device):
        return
    kind = torch.device(device).type
    way_on = "use evaluators.device: cpu (for one command: --set evaluators.device=cpu)"
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        why = f"torch {torch.__version__} there is a build for processors alone"
        way_on = f"install a torch for its GPU (the page Get Started of pytorch.org chooses one), or {way_on}"
    elif kind == "cuda" and VISIBLE in os.environ:
        why = f"torch finds no GPU there that it can use ({VISIBLE} is {os.environ[VISIBLE]!r})"
    else:
        why = f"torch finds no {'GPU' if kind == 'cuda' else 'GPU of Apple'} there that it can use"
    raise InputError(f"candidates would be scored on {kind} on {platform.node()}, but {why}: {way_on}")
