"""What a node has, found with Python's standard library alone: it is sent there as code, and runs without raprune."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ray", "torch", "torchvision", "numpy")
"""Packages on which scores depend, or without which processes cannot talk to each other."""
VECTORS = ("avx2", "avx512f", "amx_tile", "sve", "asimd")
"""Instructions by which libraries choose how to sum."""
NOT_CODE = ("analysis", "studies")
"""Folders that a wheel has inside raprune, and a checkout beside it."""
APPEARS_S = 5.0
"""Seconds in which a file that another machine wrote must appear on shared storage."""


def installed(modules: Sequence[str] = (), probe: str = "") -> dict[str, str]:
    """Description -> version, digest or name; a value is empty where this node lacks the thing.

    ``modules``: top-level modules whose code is compared, too. ``probe``: a file in the study's folder.
    """
    found = {"name": platform.node(), "python": platform.python_version(), "processor": _vectors()}
    found |= {package: _version(package) for package in PACKAGES}
    found["raprune"] = _own_version()
    for module in ("raprune", *modules):
        found[f"code of {module}"] = _digest(module)
    if probe:
        found["study's folder"] = _content(Path(probe))
    return found


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]  # builds for other devices have the same code
    except PackageNotFoundError:
        return ""


def _place(module: str) -> Path | None:
    """The file of a top-level module, or the folder of a package."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]) if folders else Path(spec.origin or "")


def _own_version() -> str:
    """The version in raprune's own file: it may be a checkout, which is not installed."""
    place = _place("raprune")
    text = (place / "__init__.py").read_text() if place is not None else ""
    found = re.search(r'^__version__ = "(.*)"', text, re.MULTILINE)
    return found[1] if found else ""


def _digest(module: str) -> str:
    """A digest of the Python files of a top-level module; empty if there is none of this name."""
    place = _place(module)
    if place is None:
        return ""
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()[:8]
    files = {file.relative_to(place): file for file in place.rglob("*.py")}
    text = hashlib.sha256()
    for name in sorted(files):
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and (module != "raprune" or name.parts[0] not in NOT_CODE):
            text.update(f"{name.as_posix()}\0".encode() + hashlib.sha256(files[name].read_bytes()).digest())
    return text.hexdigest()[:8]


def _content(file: Path) -> str:
    """A digest of a file's content; empty if it does not appear, or if nothing can be written beside it."""
    end = time.monotonic() + APPEARS_S
    while not file.is_file() and time.monotonic() < end:
        time.sleep(0.2)
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:8] if os.access(file.parent, os.W_OK) else ""
    except OSError:
        return ""


def _vectors() -> str:
    """The processor's vector instructions."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return platform.machine()
    return " ".join([platform.machine(), *[name for name in VECTORS if name in words]])
