"""What takes long to make is made once for all processes of a test run; each gets a copy of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def of_the_run(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all processes of this test run."""
    here = factory.getbasetemp()
    return here.parent if "PYTEST_XDIST_WORKER" in os.environ else here


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make`` filled: in the first process that asks for it, while the others wait."""
    ours = of_the_run(factory)
    made, complete = ours / f"once-{name}", ours / f"once-{name}.complete"
    with (ours / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(made, ignore_errors=True)  # its maker failed
            made.mkdir()
            make(made)
            complete.touch()
    return Path(shutil.copytree(made, factory.mktemp(name) / name))
