"""Which code that a file names may be imported: importing it runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from raprune.errors import InputError
from raprune.registry import is_imported

AllowImport = bool | Collection[str]
"""Import paths that may be imported; True allows all, False none."""


def check_imports(named: Mapping[str, str], where: str, allowed: AllowImport) -> None:
    """Refuse import paths that a file names and nobody has allowed: importing them runs code.

    ``named`` are kinds with their names as the file ``where`` has them. Raises :class:`InputError`.
    """
    paths = {kind: name for kind, name in named.items() if is_imported(name)}
    refused = {kind: n for kind, n in paths.items() if allowed is False or (allowed is not True and n not in allowed)}
    if refused:
        listed = " and ".join(f"{kind} {name!r}" for kind, name in refused.items())
        options = " ".join(f"--allow-import {name}" for name in dict.fromkeys(refused.values()))
        raise InputError(
            f"{where} names code that would be imported and run: {listed}. If you trust it, allow it with {options} "
            f"(in Python: allow_import={list(dict.fromkeys(refused.values()))!r})"
        )
