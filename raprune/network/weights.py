"""Weights on disk: writes safetensors files atomically and reads checkpoints without running their code."""

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
    """Write ``tensors`` (moved to the CPU) and the metadata ``header``.

    The file gets its final name only once it is complete.
    """
    metadata = None if header is None else dict(header)
    with written(file) as aside:
        aside.touch()
        mode = aside.stat().st_mode
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, aside, metadata)
        aside.chmod(mode)  # safetensors makes files readable by their owner alone, whatever the umask


def load_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises :class:`FileError` naming the file if it cannot be read."""
    with naming(file):
        tensors: dict[str, Tensor] = load_file(file)
    return tensors


def shapes_of(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> shape, for the entries that are tensors."""
    return {name: tuple(value.shape) for name, value in tensors.items() if isinstance(value, Tensor)}


def check_file(file: Path, fingerprint: str, way_on: str) -> None:
    """Raise :class:`InputError` ending with ``way_on`` if a file no longer has its ``fingerprint``."""
    try:
        same = of_file(file) == fingerprint
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}; {way_on}") from None
    if not same:
        raise InputError(f"{file} has changed since it was written; {way_on}")


def load_checkpoint(network: nn.Module, file: Path) -> list[str]:
    """Load the tensors of a checkpoint into ``network``, in place; returns descriptions of what was left out.

    Wrapper prefixes and enclosing dictionaries are removed (``checkpoints.py``). If the network has
    ``adapt_state_dict``, it first renames the tensors. Raises :class:`InputError` listing what does not fit.
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
    ignored = [f"its {key!r}, which also fits: {taken!r} is loaded" for key in others]
    return [*ignored, *fits[chosen].left_out()]


def load_whole(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load ``tensors`` into ``network``, in place; ``what`` describes them and starts an error.

    Every tensor must be present, finite and of the right shape, and modules may have no others; half precision is
    converted to the network's. Raises :class:`InputError` listing what does not fit.
    """
    Fit.of(network, tensors).load(network, what)
