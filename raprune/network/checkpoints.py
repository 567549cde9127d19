"""Checkpoints as trainers write them: what a file contains, and which of its tensors belong to a network.

A file holds tensors by name, alone or in a dictionary among other things (``state_dict``, ``net``, ``ema``, ...), and
names may start with the prefixes of wrappers (``module.``, ``_orig_mod.``, ``model.``). No code in a file is ever run:
other objects in it are not built (``pickled.py``).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raprune.errors import InputError
from raprune.network.pickled import tensors_of_pickle

Entries = dict[str, Any]
"""Names to tensors, and to other values (extra state)."""
USUAL = ("state_dict", "model_state_dict", "model")
"""Keys whose dictionary is preferred if several fit, the first one most."""
MAX_DEPTH = 4
"""Depth to which nested dictionaries are searched."""
MAX_PREFIXES = 8
SHOWN_KEYS = 8
SAVED_AS = "torch.save(network.state_dict(), ...)"
SAFETENSORS_HEADER = 100_000_000
"""Most bytes that the header of a safetensors file can have."""


@dataclass(frozen=True)
class Found:
    """One dictionary of a file."""

    key: str
    """Its place in the file: ``model``, ``ema.module``; empty for the file itself."""
    entries: Entries

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.entries.items() if isinstance(value, Tensor)}


def read_checkpoint(file: Path) -> list[Found]:
    """The dictionaries of tensors in a file, the usual one first. Raises :class:`InputError` if there are none."""
    content = _read(file)
    dictionaries = list(_dictionaries(content, "", MAX_DEPTH))
    if not dictionaries:
        raise InputError(f"checkpoint {str(file)!r} does not hold a state dict of tensors; {_what_it_is(content)}")
    rank = {key: number for number, key in enumerate(("", *USUAL))}
    return sorted(dictionaries, key=lambda entry: (len(entry.key.split(".")), rank.get(entry.key, len(rank))))


def unwrapped(entries: Entries, expected: Mapping[str, Any]) -> Entries:
    """``entries`` renamed to the names of ``expected``, where only a wrapper's prefix differs.

    Of all prefixes, the one whose removal makes the most entries match is removed; if the network itself is wrapped,
    the prefix of ``expected`` is added. Names without the prefix stay as they are.
    """
    best, most = dict(entries), _matches(entries, expected)
    for theirs in _prefixes(entries, expected):
        for ours in _shared_prefixes(expected):
            renamed = {_renamed(name, theirs, ours): value for name, value in entries.items()}
            number = _matches(renamed, expected)
            if len(renamed) == len(entries) and number > most:
                best, most = renamed, number
    return best


def is_counter(name: str, value: Any) -> bool:
    """Whether an entry is a counter of a trainer or a wrapper, such as ``n_averaged``, and not a weight."""
    is_number = isinstance(value, int | float) or (isinstance(value, Tensor) and value.dim() == 0)
    return is_number and "." not in name


def _renamed(name: str, theirs: str, ours: str) -> str:
    return ours + name.removeprefix(theirs) if name.startswith(theirs) else name


def _matches(entries: Entries, expected: Mapping[str, Any]) -> int:
    return sum(
        isinstance(value, Tensor) and value.shape == entries[name].shape
        for name, value in expected.items()
        if isinstance(entries.get(name), Tensor)
    )


def _prefixes(entries: Entries, expected: Mapping[str, Any]) -> list[str]:
    """Possible prefixes of the names: those that all share, and those found before the network's own names."""
    prefixes = dict.fromkeys(_shared_prefixes(entries))
    for wanted in list(expected)[:1] + list(expected)[-1:]:
        prefixes |= dict.fromkeys(name.removesuffix(wanted) for name in entries if name.endswith(f".{wanted}"))
    return list(prefixes)


def leading_prefixes(entries: Entries) -> list[str]:
    """The most frequent possible wrapper prefixes, whether or not all names share them, the shortest first."""
    counted = Counter(
        ".".join(parts[:depth]) + "."
        for name, value in entries.items()
        if not is_counter(name, value)
        for parts in [name.split(".")]
        for depth in range(1, min(len(parts), MAX_DEPTH))
    )
    return sorted((prefix for prefix, _ in counted.most_common(MAX_PREFIXES)), key=len)


def _shared_prefixes(entries: Mapping[str, Any]) -> list[str]:
    """``""``, ``model.``, ``model.net.``: the prefixes that all names share, counters aside."""
    names = [name.split(".") for name, value in entries.items() if not is_counter(name, value)]
    prefixes, depth = [""], 0
    while names and all(len(name) > depth + 1 and name[depth] == names[0][depth] for name in names):
        prefixes.append(f"{prefixes[-1]}{names[0][depth]}.")
        depth += 1
    return prefixes


def _dictionaries(content: Any, key: str, depth: int) -> Iterator[Found]:
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    if any(isinstance(value, Tensor) and not is_counter(name, value) for name, value in content.items()):
        yield Found(key, {str(name): value for name, value in content.items()})
    for name, value in content.items() if depth else ():
        yield from _dictionaries(value, f"{key}.{name}" if key else name, depth - 1)


def _what_it_is(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it holds {'one tensor' if isinstance(content, Tensor) else f'a {type(content).__name__}'}"
    listed = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(content.items())[:SHOWN_KEYS])
    more = f" and {len(content) - SHOWN_KEYS} more" if len(content) > SHOWN_KEYS else ""
    return f"it holds {listed}{more}" if content else "it is empty"


def _read(file: Path) -> Any:
    name = f"checkpoint {str(file)!r}"
    if file.is_dir():
        raise InputError(f"{name} is a folder; name the file of a state dict")
    if file.exists() and not file.is_file():
        raise InputError(f"{name} is not a regular file (a pipe or a device); name the file of a state dict")
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    if not start:
        raise InputError(f"{name} is empty")
    if start.lstrip()[:1] == b"{" and file.suffix != ".safetensors":
        raise InputError(
            f"{name} is JSON text, such as the index of a checkpoint split into several files (shards), and holds no "
            "tensors: merge the shards into one file and name that file"
        )
    is_safetensors = start[8:] == b"{" and 0 < int.from_bytes(start[:8], "little") <= SAFETENSORS_HEADER
    return _guarded(file, name, load_file if is_safetensors or file.suffix == ".safetensors" else _unpickle)


def _guarded(file: Path, name: str, read: Callable[[Path], Any]) -> Any:
    try:
        return read(file)
    except SafetensorError as error:
        raise InputError(f"{name} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # bytes that are not a checkpoint can make the unpickler raise anything
        if "TorchScript" in str(error):
            raise InputError(f"{name} is a TorchScript archive; save it with {SAVED_AS}") from None
        raise InputError(
            f"{name} is damaged, or holds other objects than tensors in a form that is not read; "
            f"save it with {SAVED_AS}"
        ) from None


def _unpickle(file: Path) -> Any:
    """What a file holds, read without running its code; objects of classes that would be imported are not built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about pickles that we refuse
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # bytes that are not a checkpoint can make the unpickler raise anything
            refused = error
    try:
        return tensors_of_pickle(file)
    except Exception:  # neither: the first reason is the one of torch
        raise refused from None
