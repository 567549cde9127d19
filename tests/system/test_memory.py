"""The memory that a process may use is the least that any group around it allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raprune.system.memory import memory_bytes

WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
JOB = "system.slice/slurmstepd.scope/job_7"
CASES = {
    "no limit": ("0::/user.slice", {"memory.max": "max", "user.slice/memory.max": "max"}, WHOLE),
    "a container": ("0::/", {"memory.max": "5000"}, 5000),
    "a job of Slurm": (
        f"0::/{JOB}/step_0/user",
        {f"{JOB}/memory.max": "4000", f"{JOB}/step_0/memory.max": "max"},
        4000,
    ),
    "the least counts": ("0::/a/b", {"a/memory.max": "3000", "a/b/memory.max": "4000"}, 3000),
    "another's limit": ("0::/a", {"a/memory.max": "max", "b/memory.max": "10"}, WHOLE),
    "version 1": (
        "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/",
        {"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/slurm/job_7/memory.limit_in_bytes": "6000"},
        6000,
    ),
    "version 1 in a container": ("4:memory:/docker/ab", {"memory/memory.limit_in_bytes": "7000"}, 7000),
    "nothing that can be read": ("nonsense\n\n:::", {"memory.max": "soon"}, WHOLE),
}


@pytest.mark.parametrize("case", CASES)
def test_the_least_of_all_limits_counts(tmp_path: Path, case: str) -> None:
    groups, files, expected = CASES[case]
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(f"{text}\n")
    assert memory_bytes(tmp_path / "groups", tmp_path / "mounted") == expected


def test_of_this_process() -> None:
    assert 2**20 < memory_bytes() <= WHOLE
    assert memory_bytes(Path("/no/such/file"), Path("/no/such/folder")) == WHOLE
