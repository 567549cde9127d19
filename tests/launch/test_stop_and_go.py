"""Kills and signals: nothing is lost, nothing runs twice, and the rows are those of an undisturbed run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raprune.errors import ResultsError
from raprune.results import FolderLock, read_study
from tests.launch.runs import assert_same_rows
from tests.tiny import STUDY, write_study
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(
    r"^\s*$|^\d+:\d\d  |^method +order|^ +params +MACs|^(agent|magnitude|random)|completed|^report: |^interrupted"
    r"|^baseline: |stopped"
)


def start(folder: Path, *arguments: str, prefix: tuple[str, ...] = (), text: str = STUDY) -> subprocess.Popen[str]:
    """The command line on the tiny study, in a process group of its own."""
    file = write_study(folder, text)
    command = [
        *prefix,
        sys.executable,
        "-c",
        "from raprune.cli import main; main()",
        "study",
        str(file),
        "--out",
        str(folder / "out"),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        cwd=folder, start_new_session=True,
    )  # fmt: skip


def layers(folder: Path) -> list[Path]:
    """The layers committed so far."""
    return list(folder.glob("out/trials/*/layers-*.parquet"))


def wait_for_layers(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    until(lambda: len(layers(folder)) >= number, process)


def finish(folder: Path, *arguments: str) -> str:
    process = start(folder, *arguments)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    return text


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 5])
def test_killed_in_the_middle(reference: Path, tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "--evaluators", "0")
    wait_for_layers(tmp_path, number, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in layers(tmp_path)}
    finish(tmp_path, "--evaluators", "0")
    assert_same_rows(reference, tmp_path / "out")
    assert all(file.stat().st_mtime_ns == written for file, written in kept.items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_on_ray(reference: Path, tmp_path: Path, number: int) -> None:
    """A clean stop with exit code 130, rows for what was stopped, no foreign line; the same command goes on."""
    process = start(tmp_path)
    wait_for_layers(tmp_path, 2, process)
    if number == signal.SIGINT:  # a terminal sends Ctrl-C to the whole group
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, text
    assert "resumes from the last committed layers" in text
    foreign = [line for line in text.splitlines() if not OURS.search(line)]
    assert foreign == []
    statuses = set(read_study(tmp_path / "out").trials["status"])
    assert "stopped" in statuses
    assert "failed" not in statuses
    text = finish(tmp_path)
    assert [line for line in text.splitlines() if not OURS.search(line)] == []
    assert "report: " in text
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    assert_same_rows(reference, tmp_path / "out")


@pytest.mark.slow
def test_one_core_is_enough(reference: Path, tmp_path: Path) -> None:
    """No deadlock: the pool and two trials fit on one core."""
    process = start(tmp_path, prefix=("taskset", "-c", "0"))
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    assert_same_rows(reference, tmp_path / "out")
    assert (read_study(tmp_path / "out").trials["evaluators"] == 1).all()


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(ResultsError, match="is in use by process"), FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path):
        assert (tmp_path / ".lock").is_file()
