"""What cannot be exported or run here, as part of a sentence. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable


class Refused(Exception):
    """An exporter does not take a network, or a package that it needs is not here; the message is the reason."""


def first_line(error: BaseException) -> str:
    """The first line of an error, as part of a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def require(packages: Iterable[str]) -> None:
    """Raise :class:`Refused` naming those of the extra ``onnx`` that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        what = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise Refused(f"{what}; pip install 'raprune[onnx]' brings it")
