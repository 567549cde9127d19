"""Waiting for what another process or thread does: for the event, never for a time that a loaded machine may need."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE_S = 200.0
"""Only a test that would otherwise wait for ever waits for this long."""


def until(ready: Callable[[], object], process: subprocess.Popen[str] | None = None, what: str = "") -> None:
    """Wait until ``ready()`` is true; fails if ``process`` ends before that."""
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end, f"{what or ready} did not come true in {PATIENCE_S:.0f} s"
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
