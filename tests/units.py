"""Which process of a parallel test run gets which files: each file is in one process, and all that need Ray in one.

A cluster is started for each process that needs one, and costs processor time as long as it runs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling


@cache
def unit_of(file: Path) -> str:
    """What is run in one process together with ``file``."""
    return "ray" if "ray_cluster" in file.read_text() else str(file)


class ByFileAndRay(LoadFileScheduling):  # type: ignore[misc,unused-ignore]
    """``--dist loadfile``, but the files that need Ray are one unit."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(self.config.rootpath / super()._split_scope(nodeid))
