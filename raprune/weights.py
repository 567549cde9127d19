"""Weights on disk: safetensors written aside and renamed, checkpoints read without running their code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.registry import nearest


def save_safetensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write ``tensors`` (moved to the CPU); the file has its final name only when it is complete."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, aside)
    os.replace(aside, file)


def load_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    tensors: dict[str, Tensor] = load_file(file)
    return tensors


def load_checkpoint(network: nn.Module, file: Path) -> None:
    """Load a state dict (``.safetensors``, or a ``.pt`` that holds tensors only) into ``network``, in place.

    Every tensor must be there with the right shape, and none may be left over; half precision becomes the network's.
    Raises :class:`InputError` that lists what does not fit.
    """
    tensors = _read(file)
    expected = network.state_dict()
    wrong = [f"{name}: the checkpoint has no such tensor" for name in expected if name not in tensors]
    wrong = [w for w in wrong if "num_batches_tracked" not in w]
    for name, tensor in tensors.items():
        if name not in expected:
            wrong.append(f"{name}: the network has no such tensor{nearest(name, list(expected)).partition(' (')[0]}")
        elif tensor.shape != expected[name].shape:
            wrong.append(f"{name}: the checkpoint has {tuple(tensor.shape)}, the network {tuple(expected[name].shape)}")
    if wrong:
        shown = "\n  ".join(wrong[:8]) + (f"\n  and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise InputError(f"checkpoint {str(file)!r} does not fit the network:\n  {shown}")
    network.load_state_dict({**expected, **{name: t.to(expected[name].dtype) for name, t in tensors.items()}})


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_safetensors(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"checkpoint {str(file)!r} cannot be read: {str(error).splitlines()[0]}") from None
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise InputError(f"checkpoint {str(file)!r} does not hold a state dict of tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}
