"""How much memory this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the limit of a container: version 2 and version 1."""


def memory_bytes() -> int:
    """The machine's memory, or the limit of the container that this process runs in, if that is less."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            most = min(most, int(Path(name).read_text(encoding="ascii")))
    return most
