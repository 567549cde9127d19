"""The one output tensor that is scored, taken from any container that a network returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from raprune.errors import InputError


def choose_output(result: Any, wanted: str | int | None) -> Any:
    """The output ``wanted``, a name or an index; raises :class:`InputError` naming the outputs there are."""
    parts = _parts(result)
    if parts is None:
        if not isinstance(result, Tensor):
            raise InputError(f"the network returns a {type(result).__name__}, which is not a tensor")
        if wanted is not None:
            raise InputError(f"the network returns one tensor: there is no output {wanted!r} to choose")
        return result
    names = list(parts)
    if wanted is None and len(names) == 1:
        wanted = names[0]
    if isinstance(wanted, int) and wanted not in parts and isinstance(result, tuple) and 0 <= wanted < len(names):
        wanted = names[wanted]
    if wanted is None or wanted not in parts:
        missing = "" if wanted is None else f"; it has no {wanted!r}"
        raise InputError(
            f"the network returns several outputs ({', '.join(map(str, names))}): name one with output{missing}"
        )
    if not isinstance(parts[wanted], Tensor):
        raise InputError(f"the network's output {wanted!r} is not a tensor")
    return parts[wanted]


def _parts(result: Any) -> Mapping[Any, Any] | None:
    """The parts of a container by name or index; ``None`` for a tensor and anything else without parts."""
    if isinstance(result, Tensor):
        return None
    if isinstance(result, Mapping):
        return result
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))
    if isinstance(result, tuple | list):
        return dict(enumerate(result))
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return None
