"""Weights on disk: safetensors written aside and renamed, checkpoints read without running their code."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raprune.errors import InputError, naming
from raprune.registry import nearest
from raprune.results import written


def save_safetensors(tensors: Mapping[str, Tensor], file: Path, header: Mapping[str, str] | None = None) -> None:
    """Write ``tensors`` (moved to the CPU) and what else the ``header`` should say.

    The file has its final name only when it is complete.
    """
    metadata = None if header is None else dict(header)
    with written(file) as aside:
        aside.touch()
        mode = aside.stat().st_mode
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, aside, metadata)
        aside.chmod(mode)  # safetensors lets only its owner read a file, whatever is usual here


def load_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises :class:`FileError` that names it where it cannot be read."""
    with naming(file):
        tensors: dict[str, Tensor] = load_file(file)
    return tensors


def load_checkpoint(network: nn.Module, file: Path) -> None:
    """Load a state dict (``.safetensors``, or a ``.pt`` that holds tensors only) into ``network``, in place.

    A network that has ``adapt_state_dict`` gives the tensors its own names first. Raises :class:`InputError` that lists
    what does not fit.
    """
    tensors = read_state_dict(file)
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = getattr(network, "adapt_state_dict", None)
    load_whole(network, tensors if adapt is None else adapt(tensors), f"checkpoint {str(file)!r}")


def load_whole(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load ``tensors`` into ``network``, in place; ``what`` they are is how an error begins.

    Every tensor must be there with the right shape and finite, and none may be left over; half precision becomes the
    network's. Raises :class:`InputError` that lists what does not fit.
    """
    expected = network.state_dict()
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    wrong = [f"{name}: the checkpoint has no such tensor" for name in needed if name not in tensors]
    for name, tensor in tensors.items():
        if name not in expected:
            wrong.append(f"{name}: the network has no such tensor{nearest(name, list(expected)).partition(' (')[0]}")
        elif (problem := _misfit(tensor, expected[name])) is not None:
            wrong.append(f"{name}: {problem}")
    if wrong:
        shown = "\n  ".join(wrong[:8]) + (f"\n  and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise InputError(f"{what} does not fit the network:\n  {shown}")
    network.load_state_dict({**expected, **{name: t.to(expected[name].dtype) for name, t in tensors.items()}})


def _misfit(tensor: Tensor, expected: Tensor) -> str | None:
    """Why ``tensor`` cannot take the place of ``expected``."""
    if tensor.shape != expected.shape:
        return f"the checkpoint has {tuple(tensor.shape)}, the network {tuple(expected.shape)}"
    if expected.is_floating_point() and not tensor.is_floating_point():
        return f"the checkpoint has {tensor.dtype}, the network {expected.dtype}"
    return None if bool(torch.isfinite(tensor.float()).all()) else "has values that are NaN or infinite"


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a state dict written by ``torch.save``, alone or under a usual key.

    Raises :class:`InputError` for a file that cannot be read or holds anything else.
    """
    if file.suffix == ".safetensors":
        return load_safetensors(file)
    found = _read_pickle(file)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise InputError(f"checkpoint {str(file)!r} does not hold a state dict of tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def _read_pickle(file: Path) -> Any:
    """What ``torch.load`` makes of a file without running its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about pickles that we refuse
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no checkpoint make the unpickler fail in any way
        if isinstance(error, OSError):
            raise InputError(f"checkpoint {str(file)!r} cannot be read: {error.strerror or error}") from None
        raise InputError(
            f"checkpoint {str(file)!r} is damaged, or holds more than tensors, such as a whole pickled network; "
            "save it with torch.save(network.state_dict(), ...)"
        ) from None
