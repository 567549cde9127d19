"""How much memory this process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""The control groups of this process, and where they are."""


def memory_bytes(groups: Path = GROUPS, mounted: Path = MOUNTED) -> int:
    """The machine's memory, or less where a container or a scheduler's job limits this process."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _limits(groups, mounted):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            most = min(most, int(file.read_text(encoding="ascii")))
    return most


def _limits(groups: Path, mounted: Path) -> Iterator[Path]:
    """Files with a limit: of the group of this process and of each around it, in versions 2 and 1.

    A container may show its own group as the outermost; Slurm and systemd set limits on inner ones.
    """
    lines = ["0::/", "0:memory:/"]
    with contextlib.suppress(OSError):
        lines += groups.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        inner = PurePosixPath(group)
        yield from (folder / str(part).lstrip("/") / name for part in (inner, *inner.parents))
