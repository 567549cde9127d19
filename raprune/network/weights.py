"""Weights on disk: safetensors written aside and renamed, checkpoints read without running their code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raprune.errors import InputError, naming
from raprune.identity import of_file
from raprune.network.checkpoints import USUAL, read_checkpoint
from raprune.network.fitting import Fit, fit_to
from raprune.system.writing import written


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


def shapes_of(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> shape; entries that are no tensors are left out."""
    return {name: tuple(value.shape) for name, value in tensors.items() if isinstance(value, Tensor)}


def check_file(file: Path, fingerprint: str, way_on: str) -> None:
    """Raise :class:`InputError` with the ``way_on`` where a file has not the fingerprint that it was written with."""
    try:
        same = of_file(file) == fingerprint
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}; {way_on}") from None
    if not same:
        raise InputError(f"{file} has changed since it was written; {way_on}")


def load_checkpoint(network: nn.Module, file: Path) -> list[str]:
    """Load the tensors of a checkpoint into ``network``, in place; returns what of the file was left out, in words.

    Wrappers around names and dictionaries around tensors are taken off (``checkpoints.py``). A network that has
    ``adapt_state_dict`` gives the tensors its own names first. Raises :class:`InputError` that lists what does not fit.
    """
    dictionaries = read_checkpoint(file)
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = getattr(network, "adapt_state_dict", None)
    fits = [fit_to(network, found.entries, adapt) for found in dictionaries]
    chosen = min(range(len(fits)), key=lambda number: (len(fits[number].wrong), number))
    others = [found.key for number, found in enumerate(dictionaries) if number != chosen and not fits[number].wrong]
    taken, what = dictionaries[chosen].key, f"checkpoint {str(file)!r}"
    if others and taken not in ("", *USUAL):
        listed = ", ".join(map(repr, [taken, *others]))
        raise InputError(f"{what} holds several dictionaries that fit the network, {listed}: save the one to be pruned")
    fits[chosen].load(network, what if not taken else f"{what} ({taken!r} in it)")
    told = [f"its {key!r}, which fits as well: {taken!r} is loaded" for key in others]
    return [*told, *fits[chosen].left_out()]


def load_whole(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load ``tensors`` into ``network``, in place; ``what`` they are is how an error begins.

    Every tensor must be there with the right shape and finite, and no module may have one more; half precision becomes
    the network's. Raises :class:`InputError` that lists what does not fit.
    """
    Fit.of(network, tensors).load(network, what)
