"""What is made once for all processes of a test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import os
from pathlib import Path
import pytest
from tests.once import made_once

def make(folder):
    with open({log!r}, "a") as log:
        log.write("made\\n")
    if {failing} and len(open({log!r}).readlines()) == 1:
        raise ValueError("once")
    (folder / "what").write_text("x")

@pytest.mark.parametrize("number", range(4))
def test(tmp_path_factory, number):
    found = made_once(tmp_path_factory, "thing", make)
    assert (found / "what").read_text() == "x"
    (found / "what").write_text("changed")  # no other sees it
"""


@pytest.mark.parametrize(("failing", "made", "code"), [(False, 1, 0), (True, 2, 1)])
def test_the_first_of_several_processes_makes_it(tmp_path: Path, failing: bool, made: int, code: int) -> None:
    """If that one fails, the next one makes it."""
    log = tmp_path / "log"
    (tmp_path / "test_it.py").write_text(TESTS.format(log=str(log), failing=failing))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'b'}",
    ]
    found = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "test_it.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (found.returncode, log.read_text().count("made")) == (code, made), found.stdout
