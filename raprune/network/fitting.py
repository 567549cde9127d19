"""Compares tensors by name with those of a network: what fits, what does not, and which belong together."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.identity import of_value
from raprune.network.checkpoints import is_counter, leading_prefixes, unwrapped

EXTRA = "_extra_state"
"""Suffix of state-dict entries that come from ``get_extra_state``."""
COUNTER = "num_batches_tracked"
"""Counter of norms, which a checkpoint may lack."""
MAX_SHOWN = 8
"""Most lines that an error shows, over all kinds."""

Adapt = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Fit:
    """Entries compared with the state dict that a network expects."""

    entries: Mapping[str, Any]
    expected: Mapping[str, Any]
    missing: tuple[str, ...]
    """Names that the network needs and the entries lack."""
    surplus: tuple[str, ...]
    """Names of tensors that the network's modules do not have."""
    extra: tuple[str, ...]
    """Names in modules that the network does not have, such as auxiliary heads; not loaded."""
    misfits: tuple[str, ...]
    """Lines about tensors that both sides have but that do not match."""

    @classmethod
    def of(cls, network: nn.Module, entries: Mapping[str, Any]) -> Fit:
        expected = network.state_dict()
        needed = [name for name, value in expected.items() if isinstance(value, Tensor) and _is_needed(name)]
        missing = tuple(name for name in needed if not isinstance(entries.get(name), Tensor))
        owners = {name for name, _ in network.named_modules()}
        others = {n: value for n, value in entries.items() if n not in expected and isinstance(value, Tensor)}
        unknown = [name for name, value in others.items() if not is_counter(name, value)]
        surplus = tuple(name for name in unknown if name.rpartition(".")[0] in owners)
        extra = tuple(name for name in unknown if name not in surplus)
        both = [name for name in entries if name in expected]
        misfits = (f"{name}: {why}" for name in both if (why := _misfit(name, entries[name], expected[name])))
        return cls(entries, expected, missing, surplus, extra, tuple(misfits))

    @property
    def wrong(self) -> tuple[str, ...]:
        """Names and lines for everything that does not fit."""
        return (*self.missing, *self.surplus, *self.misfits)

    def load(self, network: nn.Module, what: str) -> None:
        """Load the entries into ``network``, in place; a misfit raises :class:`InputError` starting with ``what``."""
        if self.wrong:
            kinds = [lines for lines in (self._missing_lines(), self._surplus_lines(), list(self.misfits)) if lines]
            lines = [line for of_kind in kinds for line in _shown(of_kind, MAX_SHOWN // len(kinds))]
            raise InputError(f"{what} does not fit the network:\n  " + "\n  ".join(lines))
        both = {
            name: value for name, value in self.entries.items() if name in self.expected and _is_loaded(name, value)
        }
        whole = network.state_dict()  # with the versions of its modules, which some need to load
        whole.update({name: tensor.to(self.expected[name].dtype) for name, tensor in both.items()})
        network.load_state_dict(whole)

    def left_out(self) -> list[str]:
        """What the network has no place for, counted by module."""
        modules = dict.fromkeys(name.partition(".")[0] for name in self.extra)
        counts = {module: sum(name.partition(".")[0] == module for name in self.extra) for module in modules}
        return [f"{module} ({number} tensor{'s' * (number > 1)})" for module, number in counts.items()]

    def _missing_lines(self) -> list[str]:
        theirs = [name for name in (*self.surplus, *self.extra) if isinstance(self.entries[name], Tensor)]
        shapes = {name: tuple(self.entries[name].shape) for name in theirs}
        lines = []
        for name in self.missing:
            alike = [other for other in theirs if shapes[other] == tuple(self.expected[name].shape)]
            near = _nearest(name, alike or theirs)
            has = (
                f"; it has {near} {shapes[near]}, the network needs {tuple(self.expected[name].shape)}" if near else ""
            )
            lines.append(f"{name}: the checkpoint has no such tensor{has}")
        return lines

    def _surplus_lines(self) -> list[str]:
        of_none = self.extra if self.missing else ()
        lines = []
        for name in (*self.surplus, *of_none):
            near = _nearest(name, [other for other in self.expected if other not in self.entries])
            hint = f"; did you mean {near!r}?" if near else ""
            lines.append(f"{name}: the network has no such tensor{hint}")
        return lines


def fit_to(network: nn.Module, entries: Mapping[str, Any], adapt: Adapt | None = None) -> Fit:
    """How a file's entries fit ``network`` after wrapper prefixes are removed and ``adapt`` has renamed them."""
    expected = network.state_dict()
    plain = Fit.of(network, unwrapped(dict(entries), expected))
    if adapt is None or not plain.wrong:
        return plain
    tensors = {name: v for name, v in entries.items() if isinstance(v, Tensor) and not is_counter(name, v)}
    fits = [plain]
    for prefix in ("", *leading_prefixes(tensors)):
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        fits.append(Fit.of(network, unwrapped(dict(adapt(bare)), expected)))
    return min(fits, key=lambda fit: len(fit.wrong))


def _is_needed(name: str) -> bool:
    return not name.endswith((COUNTER, EXTRA))


def _is_loaded(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) and not name.endswith(EXTRA)


def _misfit(name: str, found: Any, expected: Any) -> str | None:
    """Why ``found`` cannot take the place of ``expected``."""
    if name.endswith(EXTRA):
        same = of_value(found) == of_value(expected)
        return None if same else "the checkpoint has different extra state; build the network to match it"
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor):
        return None
    if found.shape != expected.shape:
        return f"the checkpoint has {tuple(found.shape)}, the network {tuple(expected.shape)}"
    if expected.is_floating_point() and not found.is_floating_point():
        return f"the checkpoint has {found.dtype}, the network {expected.dtype}"
    return None if bool(torch.isfinite(found.float()).all()) else "has values that are NaN or infinite"


def _nearest(name: str, others: list[str]) -> str | None:
    matches = difflib.get_close_matches(name, others, n=1, cutoff=0.4)
    return matches[0] if matches else None


def _shown(lines: list[str], number: int) -> list[str]:
    more = len(lines) - number
    return [*lines[:number], f"and {more} more"] if more > 1 else lines
