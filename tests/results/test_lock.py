"""The lock of a study's folder: one study at a time, freed when its process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raprune.errors import ResultsError
from raprune.results import FolderLock
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from raprune.errors import ResultsError
from raprune.results import FolderLock

with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_keeps_others_off_and_dies_with_its_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(ResultsError, match=f"in use by process {holder.pid} on .*--out"), FolderLock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(PATIENCE_S)
        with FolderLock(tmp_path):
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    finally:
        holder.kill()
        holder.communicate()


def test_a_lock_is_free_after_its_study(tmp_path: Path) -> None:
    for _ in range(2):
        with FolderLock(tmp_path / "new"):
            assert (tmp_path / "new" / ".lock").is_file()
        with pytest.raises(RuntimeError), FolderLock(tmp_path / "new"):
            raise RuntimeError("the study failed")
