"""Folders of results as people name them: a path, or an address."""

from __future__ import annotations

import os
from pathlib import Path

from raprune.system.paths import given_path
from raprune.system.store.address import OWN, READ, is_address, place_for


def given_results(text: str | os.PathLike[str], what: str = "") -> Path:
    """Results to read: the path, or the mirror of the address, which :func:`reading` brings up to date.

    Raises :class:`raprune.errors.InputError` as :func:`raprune.system.paths.given_path`, and for an address that is not
    of a store or contains credentials.
    """
    return _given(text, READ, what)


def given_out(text: str | os.PathLike[str], what: str = "") -> Path:
    """Where a study's results go: the path, or the mirror of the address. Errors as :func:`given_results`."""
    return _given(text, OWN, what)


def _given(text: str | os.PathLike[str], kind: str, what: str) -> Path:
    found = os.fspath(text)
    return place_for(found, kind, what) if is_address(found) else given_path(found, what)
