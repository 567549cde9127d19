"""A study on a cluster whose machines Ray's own autoscaler starts because the study asks, and ends after it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raprune.launch import run_study
from raprune.results import read_study
from raprune.study import load_study
from tests.launch.runs import Watch, assert_same_rows
from tests.launch.test_cluster import free_port
from tests.launch.test_elastic import ROOT, SCORE, SMALL
from tests.tiny import WHOLE, write_study

WAITING = "waiting for 1 evaluator (cpu): the cluster has no room for one on its 1 node; nodes that join are used"


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("version", "head_cpus", "started"), [("v2", 0, 3), ("v1", 1, 2)])
def test_machines_come_because_a_study_asks_and_leave_after_it(
    version: str, head_cpus: int, started: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both autoscalers of Ray; the head has a core for an evaluator, or none."""
    file, told = run(tmp_path, monkeypatch, version, head_cpus, "completed")
    assert told["summary"] == "3 completed"
    assert (told["said"][0] == WAITING) == (head_cpus == 0), told
    assert any(text.startswith("3 evaluators (cpu) on 3 nodes: ") for text in told["said"]), told
    assert told["said"][-1].endswith("fewer are of use"), told  # the last trial alone asks for fewer
    assert told["most"] == started
    assert told["left"] == 0, told
    assert run_study(load_study(file, SMALL), tmp_path / "alone", Watch(), num_evaluators=0).exit_code == 0
    assert_same_rows(tmp_path / "alone", tmp_path / "out")
    scored = read_study(tmp_path / "out").candidates.query("not from_memo")
    assert scored["evaluator"].nunique() >= 2


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_machines_leave_after_a_study_whose_driver_is_killed(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told = run(tmp_path, monkeypatch, version, 0, "killed")
    assert told == {"most": 3, "status": -signal.SIGKILL, "left": 0}


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, head_cpus: int, ending: str
) -> tuple[Path, dict[str, Any]]:
    """The study's file, and what ``autoscaled_study.py`` printed."""
    installed = folder / "site-packages"  # code that every machine has, as that of a library, is not sent
    installed.mkdir()
    (installed / "own_held.py").write_text(SCORE)
    (installed / "hold").touch()
    monkeypatch.syspath_prepend(str(installed))
    file, port = write_study(folder, WHOLE + "score: {import: 'own_held:Held'}\n"), free_port()
    program = [sys.executable, str(ROOT / "tests/launch/autoscaled_study.py"), str(folder), str(port)]
    process = subprocess.Popen(
        [*program, version, str(head_cpus), ending, *SMALL, "evaluators={min: 1, max: 3}"], cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{installed}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        printed, log = process.communicate(timeout=800)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(f"/tmp/ra-{port}", ignore_errors=True)
    assert process.returncode == 0, log
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return file, told
